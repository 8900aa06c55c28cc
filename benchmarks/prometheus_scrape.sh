#!/usr/bin/env bash
# Let the real Prometheus server scrape a unit for a while: `benchmarks/prometheus_scrape.sh [REACTOR_UNIT]`.
#
# Needs the program `prometheus` (Debian's package of that name). It starts a unit on simulated hardware with a stirring job and a
# Prometheus of its own, both on free ports of this machine, asks Prometheus what it found, and ends both.
set -euo pipefail
unit=${1:-reactor-unit}
folder=$(mktemp -d)
pids=()
end() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT

mkdir -m 700 "$folder/run"
touch "$folder/unit"
RUNTIME_DIRECTORY="$folder/run" "$unit" serve --name scraped --port 0 --hardware simulated --dot "$folder/dot" \
    --log-level WARNING >"$folder/unit" &
pids+=($!)
until url=$(grep -o 'http://127[^:]*:[0-9]*' "$folder/unit"); do sleep 0.1; done
curl -sf --json '{}' "$url/unit_api/jobs/run/job_name/stirring" >"$folder/started"
echo "a unit at $url"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/prometheus.yml" <<CONFIG
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: units
    static_configs: [{targets: ["${url#http://}"]}]
CONFIG
prometheus --config.file "$folder/prometheus.yml" --storage.tsdb.path "$folder/data" \
    --web.listen-address "127.0.0.1:$port" --log.level error &
pids+=($!)

ask() { curl -sf "http://127.0.0.1:$port/api/v1/query" --data-urlencode "query=$1" || true; }
for _ in $(seq 60); do
    ask 'reactor_unit_reading{name="stirring.measured_rpm"}' >"$folder/answer"
    grep -q '"value"' "$folder/answer" && break
    sleep 0.5
done
for query in up 'reactor_unit_job_up' 'reactor_unit_reading{name="stirring.measured_rpm"}' \
    'sum(reactor_unit_resident_memory_bytes)' 'reactor_unit_requests_total{status="202"}' 'reactor_unit_tasks_total' scrape_samples_scraped; do
    echo "$query"
    ask "$query" | python3 -c '
import json, sys
found = json.load(sys.stdin)["data"]["result"]
for one in found:
    labels = {name: value for name, value in one["metric"].items() if name not in ("__name__", "instance", "job")}
    print("   ", one["value"][1], labels)
if not found:
    sys.exit("nothing was found")'
done
