#!/usr/bin/env bash
# The suite of Python's `aetcd` (gRPC on asyncio; keys, transactions, watches, leases, locks, users, alarms, snapshot).
. "$(dirname "$0")/lib.sh"

virtualenv pytest==9.0.3 pytest-asyncio==1.3.0 pytest-mock==3.15.1 grpcio==1.75.1 protobuf==6.32.1
sdist aetcd 1.0.0 9d7173c9909ea3fc8a54dc7c82227c0ddf439d1b42c1bd2496956297d76c1107
tools
serve
move_port "$work/suite/aetcd" "$work/suite/tests"
export TEST_ETCD_HTTP_URL=http://localhost:$port PYTHONPATH=$work/suite
# The suite skips the test of the member list itself: it wants three members.
pytest_suite tests -o asyncio_mode=auto
count
