# What the scripts of all suites share: a server of its own, a place for the suite, and the count at the end. Sourced, not run.
#
# Nothing is written but the cache folder (what registries gave, built once) and a temporary folder, which is removed.
# Every process that is started here ends with the script.
set -euo pipefail

kind=${1:-}
case $kind in tombolo | etcd) ;; *) echo "usage: $0 tombolo|etcd" >&2 && exit 64 ;; esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=$(basename "$0" .sh)
cache=${TOMBOLO_CLIENTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tombolo-clients}
mkdir -p "$cache"
work=$(mktemp -d "${TMPDIR:-/tmp}/tombolo-clients.XXXXXX")
outcomes=${TOMBOLO_CLIENTS_OUTCOMES:-$work/outcomes}
: > "$outcomes"
server=
port=

ended() {
    if [ -n "$server" ]; then
        kill "$server" 2> /dev/null || true
        wait "$server" 2> /dev/null || true
    fi
    rm -rf "$work"
}
trap ended EXIT

# A port that nobody listens on now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts one replica, in a folder that did not exist, and waits until it answers. Arguments are more flags, for either server.
serve() {
    local program peer
    case $kind in
        tombolo) program=${TOMBOLO_TOMBOLOD:-tombolod} ;;
        etcd) program=${TOMBOLO_ETCD:-etcd} ;;
    esac
    port=$(free_port)
    peer=http://127.0.0.1:$(free_port)
    "$program" --name pifpaf --data-dir "$work/data" --initial-cluster "pifpaf=$peer" \
        --listen-client-urls "http://localhost:$port" --advertise-client-urls "http://localhost:$port" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" "$@" > "$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && etcdctl endpoint health > /dev/null 2>&1; then return; fi
        kill -0 "$server" 2> /dev/null || break
        sleep 0.1
    done
    cat "$work/server.log" >&2
    echo "$program does not answer on port $port" >&2
    exit 1
}

# etcd's own tool, by which several suites prepare and check: always the real one, and always this server's.
etcdctl() { ETCDCTL_API=3 command "${TOMBOLO_ETCDCTL:-etcdctl}" --endpoints "127.0.0.1:$port" "$@"; }

# The same tool for suites, which call it by name.
tools() {
    mkdir -p "$work/bin"
    ln -s "$(command -v "${TOMBOLO_ETCDCTL:-etcdctl}")" "$work/bin/etcdctl"
    PATH=$work/bin:$PATH
}

# `virtualenv REQUIREMENT…`: an environment of exactly these packages, made once, in front of PATH from here on.
virtualenv() {
    local name
    name=$cache/python-$(printf '%s\n' "$(python3 --version)" "$@" | sha256sum | cut -c1-16)
    if ! [ -e "$name/complete" ]; then
        rm -rf "$name"
        python3 -m venv "$name"
        "$name/bin/pip" install --quiet --disable-pip-version-check "$@"
        touch "$name/complete"
    fi
    PATH=$name/bin:$PATH
}

# `sdist NAME VERSION SHA256`: the source distribution of a Python package, unpacked into $work/suite.
sdist() {
    local file=$cache/$1-$2.tar.gz
    if ! [ -e "$file" ]; then
        pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$work/download" "$1==$2"
        mv "$work/download/"* "$file"
    fi
    echo "$3  $file" | sha256sum --check --quiet
    mkdir "$work/suite"
    tar -xzf "$file" -C "$work/suite" --strip-components 1
}

# Suites that know one port alone are told ours.
move_port() { grep -rlI --exclude-dir=.git 2379 "$@" | xargs -r sed -i "s/2379/$port/g"; }

# `pytest_suite ARGUMENT…`: runs pytest in the suite's folder and notes the outcome of each test.
pytest_suite() {
    (cd "$work/suite" && timeout "${TOMBOLO_CLIENTS_PATIENCE:-600}" python -m pytest -q -o addopts= -p no:cacheprovider --junit-xml="$work/report.xml" "$@") || true
    python - "$work/report.xml" >> "$outcomes" << 'PYTHON'
import sys, xml.etree.ElementTree as tree
for case in tree.parse(sys.argv[1]).iter("testcase"):
    kinds = {child.tag for child in case}
    outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    print(outcome, case.get("classname") + "." + case.get("name"))
PYTHON
}

# `left_out TEST REASON`: a test that is not run, on either server. It counts as skipped.
left_out() {
    echo "skipped $1" >> "$outcomes"
    echo "left out: $1: $2"
}

# Prints what did not pass and the three numbers. A suite of which nothing passed did not run.
count() {
    local outcome numbers=
    sort -u -o "$outcomes" "$outcomes"
    grep -v '^passed' "$outcomes" || true
    for outcome in passed failed skipped; do numbers+=" $(grep -c "^$outcome " "$outcomes" || true) $outcome"; done
    echo "$suite on $kind:$numbers"
    grep -q '^passed' "$outcomes"
}
