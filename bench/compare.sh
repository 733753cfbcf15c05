#!/bin/sh
# Runs Tidemark, Prometheus and VictoriaMetrics in turn on the same load and prints one table. README.md says
# what is measured; the work is done by compare.py.
set -eu

bench=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$bench")
install=0

for argument in "$@"; do
    shift
    if [ "$argument" = --install-peers ]; then
        install=1
    else
        set -- "$@" "$argument"
    fi
done

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

if [ "$install" -eq 1 ]; then
    for package in prometheus victoria-metrics; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && continue
        # The packages start their services: a policy for this one call keeps them down.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
            as_root chmod 755 "$policy"
            trap 'as_root rm -f "$policy"' EXIT
        fi
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"
    done
    if [ -n "${policy:-}" ]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
fi

exec python3 "$bench/compare.py" --build "$root/build/release/bin" "$@"
