#!/bin/sh
# The Kinesis Producer Library and Afluente against the same sink-hole through the same TLS terminator, one after the other.
# From the repository's root after `cargo build --release`; needs a JDK, Maven, stunnel4, openssl, python3 and GNU time.
set -eu
afluente=$PWD/target/release/afluente
here=$PWD/benches/runs/2026-11-24c/kpl
work=$(mktemp -d)
cd "$work"
children=
trap 'kill $children 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM PIPE
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost 2>/dev/null
cat key.pem cert.pem > both.pem
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/lib"
javac -cp 'lib/*' -d . "$here/Feed.java"
"$afluente" -q run -c "$here/events.yaml" > e1560
cut -c -562 e1560 > e562

mkfifo open
"$afluente" bench-sink-hole < open > hole &
children="$children $!"
exec 3> open
while ! [ -s hole ]; do sleep 0.1; done
port=$(sed 's/.*:\([0-9]*\)".*/\1/;q' hole)
printf 'foreground = yes\npid =\n[k]\naccept = 127.0.0.1:4568\nconnect = 127.0.0.1:%s\ncert = both.pem\n' "$port" > tls.conf
stunnel4 tls.conf 2> tls.log &
children="$children $!"
python3 "$here/sts.py" &
children="$children $!"
sleep 1
kill -0 $children || { cat tls.log; echo 'port 4568 or 4570 is taken'; exit 1; } >&2

afluente() {
  i=0
  while [ $i -lt $2 ]; do cat "e$1"; i=$((i + 1)); done > lines
  /usr/bin/time -f '%U %S %e' -o time "$afluente" -q run -c "$here/afluente.yaml" < lines > /dev/null 2> words
  cat words >&2
  tail -1 time | awk -v n=$(($2 * 1000)) -v b="$1" '{ printf "afluente, %s bytes: %.0f/s, %.0f ns/event\n", b, n / $3, ($1 + $2) * 1e9 / n }'
}
kpl() {
  printf '%s bytes, ' "$1"
  java -cp '.:lib/*' Feed "e$1" "$2" "$3" 2> words | tail -1
}
for _ in 1 2 3; do
  afluente 1560 400
  kpl 1560 300000 true
  kpl 1560 200000 false
  afluente 562 800
  kpl 562 300000 true
done
