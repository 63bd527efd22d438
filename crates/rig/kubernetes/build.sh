#!/usr/bin/env bash
# Builds kube-apiserver, kube-controller-manager and kubectl from Debian's source package with Debian's Go, into the folder given.
# Debian ships the client alone, and builds of others cannot be had everywhere; this takes about ten minutes of two cores, and 3 GB of disk.
# Nothing is installed but packages of the archive: golang-go, dpkg-dev, rsync, and a newer copy of one library, see below.
set -euo pipefail

into=$(realpath -m "${1:?the folder to build into}")
work=$(mktemp -d "${TMPDIR:-/tmp}/kubernetes.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

apt-get install -y -q golang-go dpkg-dev rsync golang-github-modern-go-reflect2-dev

# The source index is kept apart, so that the machine's own lists stay as they are.
mkdir -p "$work/lists/partial"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb-src http://deb.debian.org/debian $release main" > "$work/sources.list"
apt=(-q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o Dir::State::lists="$work/lists")
apt-get "${apt[@]}" update
(cd "$work" && apt-get "${apt[@]}" source --download-only kubernetes && dpkg-source -x kubernetes_*.dsc source)

# The copy of reflect2 that comes along breaks with Go 1.18 and later: any use of a custom resource ends the server.
rm -rf "$work/source/vendor/github.com/modern-go/reflect2"
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 "$work/source/vendor/github.com/modern-go/"

export GOPATH="$work/source/.go" HOME="$work" CGO_ENABLED=0 PATH="/usr/lib/go/bin:$PATH"
mkdir -p "$GOPATH/src/k8s.io"
ln -s ../../.. "$GOPATH/src/k8s.io/kubernetes"
make -C "$GOPATH/src/k8s.io/kubernetes" WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kubectl"
install -D -t "$into" "$work"/source/_output/bin/{kube-apiserver,kube-controller-manager,kubectl}
