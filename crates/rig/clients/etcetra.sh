#!/usr/bin/env bash
# The suite of Python's `etcetra` (gRPC on asyncio; keys, transactions, watches, locks).
# The package leaves its conftest.py out, which starts a container: ours gives its tests a client of this server.
. "$(dirname "$0")/lib.sh"

virtualenv pytest==9.0.3 pytest-asyncio==1.3.0 grpcio==1.62.2 grpcio-tools==1.62.2 protobuf==4.25.3
sdist etcetra 0.1.19 bb8f710e54c3b6d6f85d219ea89e73edaa3916677966c7f72430381a28619a46
serve
cp "$here/etcetra_conftest.py" "$work/suite/tests/conftest.py"
export TOMBOLO_CLIENTS_PORT=$port PYTHONPATH=$work/suite/src
pytest_suite tests -o asyncio_mode=auto
count
