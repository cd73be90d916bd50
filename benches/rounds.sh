#!/bin/sh
# Rounds of measurements for a folder of `runs/`: what users do with the pipeline, each beside the bare steps where there are some.
# In: the folder, and how many rounds (4). Out: a line of JSON for each run, appended to `bench.ndjson` there.
# Run it from the repository's root after `cargo build --release`, with nothing else running.
out=${1:?the folder: sh benches/rounds.sh benches/runs/2026-01-31 [rounds]}/bench.ndjson
rounds=${2:-4}
[ ! -e "$out" ] || { echo "$out is there already" >&2; exit 1; }
run() {
  label=$1
  shift
  line=$(target/release/afluente bench "$@" --json | tail -1)
  [ -n "$line" ] || { echo "no result: $label" >&2; exit 1; }
  echo "$line" | sed "s/^{/{\"run\":\"$label\",/" | tee -a "$out"
}
for _ in $(seq "$rounds"); do
  run "full job" --events 1000000
  run "bare" --events 1000000 --bare
  run "sink only" --events 1000000 --sink-only
  run "sink only, bare" --events 1000000 --sink-only --bare
  run "sink only, 562 B" --events 2000000 --sink-only --event-bytes 562
  run "sink only, 562 B, bare" --events 2000000 --sink-only --event-bytes 562 --bare
done
for _ in $(seq $(((rounds + 1) / 2))); do
  run "full job, 1M keys" --events 2000000 --keys 1000000
  run "sink only, 20 ms, 8 in flight" --seconds 6 --sink-only --round-trip 20 --in-flight 8
  run "sink only, 562 B, 20 ms, 8 in flight" --seconds 6 --sink-only --round-trip 20 --in-flight 8 --event-bytes 562
  run "sink only, 20 ms, adaptive" --seconds 6 --sink-only --round-trip 20
  run "trigger every, 1M keys" -c benches/every.yaml --events 3000000 --keys 1000000
  run "trigger change, 1M keys" -c benches/change.yaml --events 3000000 --keys 1000000
done
run "100 a second" --rate 100 --seconds 15
run "full job, 20M events" --events 20000000
