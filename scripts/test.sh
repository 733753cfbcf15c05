#!/bin/sh
# Passes all tests on a fresh Debian 12 machine: installs what is missing, builds, and runs, cheap things first:
#   format of all sources; unit tests, fuzz corpora and models under the address, undefined-behaviour and thread sanitizers;
#   the program in its release build: API, real Prometheus, crashes, full disk, PromQL conformance; clang-tidy; fuzzers.
#
#   scripts/test.sh            everything, in the short mode that CI runs
#   scripts/test.sh STEP...    only these of: format asan tsan system tidy fuzz
#
# Long modes by hand, such as CRASH_ROUNDS=500 ctest --preset release -R cluster/test_crash: docs/testing.md lists them.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - started))"; }
started=$(date +%s)
jobs=$(nproc)

# build PRESET [TARGET]
build() {
    cmake --preset "$1" >"build-$1.log" 2>&1 || { cat "build-$1.log" >&2; exit 1; }
    rm -f "build-$1.log"
    cmake --build --preset "$1" --target "${2:-all}" -j "$jobs" -- --quiet
}

sources() { git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cc' | grep -v '^third_party/'; }

step_format() {
    say "Format: clang-format on every source file"
    sources | xargs clang-format --dry-run -Werror
    echo "$(sources | wc -l) files have the house format"
}

step_asan() {
    say "Units, models and fuzz corpora under the address and undefined-behaviour sanitizers"
    build asan
    ctest --preset asan -j "$jobs" -LE system
}

step_tsan() {
    say "Units under the thread sanitizer"
    build tsan
    ctest --preset tsan -j "$jobs" -L unit
}

step_system() {
    say "The program: API, real Prometheus, crashes, full disk, conformance"
    build release
    ctest --preset release -L system
    say "The quickstart"
    scripts/quickstart.sh --once
}

step_tidy() {
    say "clang-tidy on every source of the program"
    build release
    # One file a process: with several, clang-tidy 14 takes a va_list in the second for one of the first.
    sources | grep '/src/.*\.c$' | xargs -P "$jobs" -n 1 clang-tidy --quiet -p build/release 2>/dev/null
    echo "clang-tidy has nothing to say about $(sources | grep -c '/src/.*\.c$') files"
}

step_fuzz() {
    say "Fuzzers, some seconds each"
    build fuzz fuzzers
    ctest --preset fuzz -j "$jobs" -L fuzz
}

scripts/install-deps.sh
for step in ${*:-format asan tsan system tidy fuzz}; do
    case $step in
    format | asan | tsan | system | tidy | fuzz) "step_$step" ;;
    *) echo "test: \"$step\" is no step" >&2; exit 2 ;;
    esac
done
say "All passed"
