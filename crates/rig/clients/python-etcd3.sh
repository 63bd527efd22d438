#!/usr/bin/env bash
# The suite of Python's `etcd3` (gRPC; keys, ranges, transactions, watches, leases, locks, alarms, snapshot).
# It was written for three members whose names begin with `pifpaf`; one replica of that name stands for them.
. "$(dirname "$0")/lib.sh"

virtualenv pytest==7.4.4 hypothesis==6.100.0 mock==2.0.0 six==1.16.0 tenacity==6.1.0 grpcio==1.62.2 protobuf==3.20.3
sdist etcd3 0.12.0 89a704cb389bf0a010a1fa050ce19342d23bf6371ebda1c21cfe8ff3ed488726
tools
serve
move_port "$work/suite/etcd3" "$work/suite/tests"
# Other members are paused for some tests: there are none. Later releases of hypothesis object to a fixture that lives through a test.
sed -i -e "s/^    pids = subprocess.*pifpaf.*/    pids = b''/" -e 's/etcd.members)) == 3/etcd.members)) == 1/' \
    -e 's/"default", deadline=None/"default", deadline=None, suppress_health_check=list(__import__("hypothesis").HealthCheck)/' \
    "$work/suite/tests/test_etcd3.py"
export PYTHON_ETCD_HTTP_URL=http://localhost:$port TEST_ETCD_VERSION=v3.4.0 PYTHONPATH=$work/suite
broken=tests/test_etcd3.py::TestClient::test_user_pwd_auth
pytest_suite tests --hypothesis-seed=1 --deselect "$broken"
left_out "$broken" "it replaces a module by a name that the package does not have"
count
