#!/bin/sh
# Fetches Debian's newest `prometheus` package, unpacks it into a cache folder and prints the path of its binary: the
# oracle of tests/conformance/differential.py. Nothing is installed: apt runs with a configuration, lists and
# preferences of its own, and the mirror is the one this machine's apt sources already name.
#
#   scripts/get-prometheus3.sh [CACHE]    default: build/prometheus3
#
# Exits 3, with the reason on stderr, where no Prometheus 3.5 or newer can be had.
set -eu
cd "$(dirname "$0")/.."

version_min=3.5
suites="sid forky trixie" # Newest first.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache=${1:-build/prometheus3}

unavailable() {
    echo "get-prometheus3: $1" >&2
    exit 3
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
binary=$cache/root/usr/bin/prometheus
if [ -x "$binary" ] && "$binary" --version >/dev/null 2>&1; then
    echo "$binary"
    exit 0
fi

command -v apt-get >/dev/null || unavailable "this machine has no apt"
[ -r "$keyring" ] || unavailable "the keys of the Debian archive are not installed"
mirror=$(scripts/debian-mirror.sh) || unavailable "apt's sources name no Debian 12 mirror"

# Everything of apt's own lives in $cache/apt.
apt=$cache/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/preferences.d" "$apt/sources.d"
: >"$apt/status"
: >"$apt/preferences"
private_apt() {
    command=$1
    shift
    "$command" -qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/sources.d" \
        -o "Dir::Etc::preferences=$apt/preferences" -o "Dir::Etc::preferencesparts=$apt/preferences.d" \
        -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" \
        -o "Dir::Cache=$apt" -o "Dir::Cache::archives=$apt/archives" -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false -o APT::Sandbox::User= "$@"
}

for suite in $suites; do
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
    private_apt apt-get update >"$apt/log" 2>&1 || continue
    version=$(private_apt apt-cache policy prometheus 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
    dpkg --compare-versions "${version:-0}" ge "$version_min" || continue
    (cd "$apt" && rm -f ./*.deb && private_apt apt-get download "prometheus=$version") >>"$apt/log" 2>&1 || continue
    rm -rf "$cache/root"
    mkdir "$cache/root"
    dpkg-deb -x "$apt"/prometheus_*.deb "$cache/root"
    rm -rf "$apt"
    "$binary" --version >/dev/null 2>&1 || unavailable "prometheus $version does not run on this machine"
    echo "get-prometheus3: $version of $suite" >&2
    echo "$binary"
    exit 0
done
unavailable "no suite of $suites has Prometheus $version_min or newer that can be fetched: $(tail -n 1 "$apt/log" 2>/dev/null)"
