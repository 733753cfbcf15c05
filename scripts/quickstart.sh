#!/bin/sh
# Runs Tidemark's main job on this machine: installs, builds, starts Tidemark in one process, a real Prometheus that scrapes
# itself, a node exporter and Tidemark and writes all of it to Tidemark, and shows queries answered by both.
#
#   scripts/quickstart.sh          leaves everything running until Ctrl-C
#   scripts/quickstart.sh --once   stops everything after the comparison; exits 0 only if the answers agree
#   scripts/quickstart.sh --help
#
# Everything it makes is in a temporary folder that goes with it. It stops what it started and nothing else.
set -eu

once=false
case "${1:-}" in
"") ;;
--once) once=true ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) echo "quickstart: \"$1\" is no option; see --help" >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
echo "== Installing and building (a few minutes the first time)"
log=$(mktemp)
scripts/build.sh >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; exit 1; }
rm -f "$log"

dir=$(mktemp -d)
pids=""
stop() {
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
    echo "== Stopped everything that was started"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Three free ports, held open together while they are chosen so that no two are the same.
set -- $(python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])')
tide=127.0.0.1:$1 prom=127.0.0.1:$2 node=127.0.0.1:$3

cat >"$dir/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - {job_name: prometheus, static_configs: [{targets: ["$prom"]}]}
  - {job_name: node, static_configs: [{targets: ["$node"]}]}
  - {job_name: tidemark, static_configs: [{targets: ["$tide"]}]}
remote_write:
  - url: http://$tide/api/v1/write
    queue_config: {batch_send_deadline: 1s}
YAML

start() {
    name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids="$! $pids"
}
echo "== Starting Tidemark ($tide), Prometheus ($prom) and a node exporter ($node)"
start tidemark build/release/bin/tidemark run --data-dir "$dir/tidemark" --http-listen "$tide"
start node prometheus-node-exporter --web.listen-address="$node"
start prometheus prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" \
    --web.listen-address="$prom"

if ! python3 scripts/compare_answers.py --tidemark "http://$tide" --prometheus "http://$prom"; then
    for name in tidemark node prometheus; do echo "-- $name.log"; tail -n 5 "$dir/$name.log"; done >&2
    exit 1
fi
$once && exit 0

echo
echo "Tidemark:    http://$tide/            a page to query it; API under /api/v1, metrics on /metrics"
echo "Prometheus:  http://$prom/"
echo "Grafana:     add a Prometheus data source with the URL http://$tide"
echo "Ctrl-C stops everything and removes $dir."
while sleep 3600; do :; done
