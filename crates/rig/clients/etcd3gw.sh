#!/usr/bin/env bash
# The suite of Python's `etcd3gw`, of the OpenStack project (JSON over HTTP; keys, transactions, watches, leases, locks).
. "$(dirname "$0")/lib.sh"

virtualenv pytest==8.3.5 pbr==6.1.0 requests==2.32.3 futurist==3.0.0 oslotest==5.0.0 urllib3==2.2.3
sdist etcd3gw 2.7.0 55e95b788ec4e72a57e704c2eccdf44163ef23bcb4fce883c71936e1ed8ad8f8
serve
export TOOZ_TEST_HTTP_URL=http://localhost:$port TOOZ_TEST_ETCD_PORT=$port PYTHONPATH=$work/suite
pytest_suite etcd3gw/tests
count
