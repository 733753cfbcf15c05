#!/bin/sh
# Installs what is missing and builds the release preset: the program is build/release/bin/tidemark.
set -eu
cd "$(dirname "$0")/.."
scripts/install-deps.sh
cmake --preset release >build-release.log 2>&1 || { cat build-release.log >&2; exit 1; }
rm -f build-release.log
cmake --build --preset release
