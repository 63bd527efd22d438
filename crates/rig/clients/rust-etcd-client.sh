#!/usr/bin/env bash
# The integration tests of Rust's `etcd-client` (gRPC; every service, and namespaces), which the crate carries.
. "$(dirname "$0")/lib.sh"

version=0.21.1
# The build wants `protoc`.
if [ -z "${PROTOC:-}" ] && ! command -v protoc > /dev/null; then
    virtualenv grpcio-tools==1.75.1 setuptools==75.8.0
    printf '#!/bin/sh\nexec python -m grpc_tools.protoc "$@"\n' > "$cache/protoc"
    chmod +x "$cache/protoc"
    export PROTOC=$cache/protoc
fi

# A crate that depends on it makes cargo fetch it, and cargo says where it is; the registry's own checksum vouches for it.
mkdir -p "$work/fetch/src" && touch "$work/fetch/src/lib.rs"
printf '[package]\nname = "fetch"\nedition = "2021"\n[dependencies]\netcd-client = "=%s"\n[workspace]\n' "$version" \
    > "$work/fetch/Cargo.toml"
manifest=$(cd "$work/fetch" && cargo metadata --format-version 1 | python3 -c '
import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "etcd-client"))')
rm -rf "$cache/etcd-client" && cp -r "$(dirname "$manifest")" "$cache/etcd-client"

serve --auth-token-ttl 2
# What the suite's own preparation does.
etcdctl user add root:rootpwd
etcdctl user grant-role root root 2> /dev/null || { etcdctl role add root && etcdctl user grant-role root root; }
move_port "$cache/etcd-client/tests"
cd "$cache/etcd-client"
export CARGO_TARGET_DIR=$cache/target
timeout "${TOMBOLO_CLIENTS_PATIENCE:-1800}" cargo test --locked --lib --tests --no-fail-fast 2>&1 | tee "$work/report" || true
sed -nE -e 's/^test (.*) \.\.\. ok$/passed \1/p' -e 's/^test (.*) \.\.\. FAILED$/failed \1/p' \
    -e 's/^test (.*) \.\.\. ignored.*$/skipped \1/p' "$work/report" >> "$outcomes"
count
