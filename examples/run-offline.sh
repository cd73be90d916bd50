#!/usr/bin/env bash
# Runs the examples that need nothing but this machine. Usage: examples/run-offline.sh path/to/afluente
set -euo pipefail
afluente=${1:?path to the binary}
cd "$(dirname "$0")/.."

lines=$("$afluente" run -c examples/offline.yaml 2>/dev/null | wc -l)
[ "$lines" -eq 5 ] || { echo "examples/offline.yaml: $lines lines, not 5"; exit 1; }

mapped=$("$afluente" map -c examples/quick-start.yaml <examples/data/profiles.ndjson | grep -c '^{"export":')
[ "$mapped" -eq 3 ] || { echo "examples/quick-start.yaml: $mapped exports, not 3"; exit 1; }

"$afluente" local-kinesis --port 4567 --stream profiles:4 >/dev/null 2>&1 &
kinesis=$!
trap 'kill $kinesis 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  (exec 3<>/dev/tcp/127.0.0.1/4567) 2>/dev/null && break
  sleep 0.1
done
"$afluente" run -c examples/quick-start.yaml <examples/data/profiles.ndjson 2>&1 | grep -q 'delivered 3 ' ||
  { echo "examples/quick-start.yaml: not all events were delivered"; exit 1; }
echo "examples: ok"
