#!/bin/sh
# The rounds of README.md beside this: from the repository's root after `cargo build --release`; a line of JSON each.
old=benches/runs/2026-11-24
here=benches/runs/2026-11-24c
run() {
  label=$1
  shift
  target/release/afluente bench "$@" --json 2>/dev/null | tail -1 | sed "s/^{/{\"run\":\"$label\",/" | tee -a $here/bench.ndjson
}
for _ in 1 2 3 4; do
  run "full job" --events 1000000
  run "bare" --events 1000000 --bare
  run "sink only" --events 1000000 --sink-only
  run "sink only, bare" --events 1000000 --sink-only --bare
  run "sink only, 562 B" --events 2000000 --sink-only --event-bytes 562
  run "sink only, 562 B, bare" --events 2000000 --sink-only --event-bytes 562 --bare
done
for _ in 1; do
  run "full job, 1M keys" --events 2000000 --keys 1000000
  run "sink only, 20 ms, 8 in flight" --seconds 6 --sink-only --round-trip 20 --in-flight 8
  run "sink only, 562 B, 20 ms, 8 in flight" --seconds 6 --sink-only --round-trip 20 --in-flight 8 --event-bytes 562
  run "sink only, 20 ms, adaptive" --seconds 6 --sink-only --round-trip 20
done
run "100 a second" --rate 100 --seconds 8
for _ in 1 2; do
  run "trigger every, 1M keys" -c $old/every.yaml --events 3000000 --keys 1000000
  run "trigger change, 1M keys" -c $old/change.yaml --events 3000000 --keys 1000000
done
