#!/bin/sh
# Installs every Debian package that building, testing and benchmarking Tidemark needs. Safe to run again:
# it exits at once when all are there. libraft-dev must be 0.22.x, which Debian 12 carries in its
# backports suite: that suite is added with the mirror this machine's own apt sources already name.
set -eu

packages="
    cmake ninja-build gcc g++ clang clang-format clang-tidy libclang-rt-14-dev pkg-config git python3 curl
    libsnappy-dev liblz4-dev zlib1g-dev libzstd-dev libmicrohttpd-dev libxxhash-dev libroaring-dev
    libre2-dev libcyaml-dev libyaml-dev libjemalloc-dev librocksdb-dev libuv1-dev libcmocka-dev
    prometheus prometheus-node-exporter"
raft_version=0.22

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

raft_installed() {
    installed libraft-dev && case "$(dpkg-query -W -f '${Version}' libraft-dev)" in "$raft_version".*) ;; *) false ;; esac
}

missing=""
for package in $packages; do
    installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ] && raft_installed; then
    echo "install-deps: all packages are installed"
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# The exporters and Prometheus are run by our own scripts, never as services of this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f "$policy"' EXIT
fi

if ! raft_installed; then
    mirror=$("$(dirname "$0")/debian-mirror.sh") || { echo "install-deps: no Debian 12 mirror in apt's sources" >&2; exit 1; }
    list=/etc/apt/sources.list.d/tidemark-backports.list
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keyring] $mirror bookworm-backports main" | as_root tee "$list" >/dev/null
fi
as_root apt-get update -qq
if [ -n "$missing" ]; then
    echo "install-deps: installing$missing"
    # shellcheck disable=SC2086 # A list of words.
    as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if ! raft_installed; then
    echo "install-deps: installing libraft-dev from bookworm-backports"
    as_root apt-get install -y -qq --no-install-recommends -t bookworm-backports libraft-dev >/dev/null
fi
raft_installed || { echo "install-deps: libraft-dev $raft_version.x is not to be had here" >&2; exit 1; }
echo "install-deps: done"
