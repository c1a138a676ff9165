#!/bin/sh
# Times, then instructions per operation. Times mean little on a shared machine but beside each other;
# instruction counts are the same everywhere. A filter may be given: scripts/bench.sh assign
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
"$cargo" bench --locked -p vpc-ipam-core --bench pool -- "$@"

if ! command -v valgrind >/dev/null; then
    echo "instructions: skipped, valgrind is not installed (Debian, Ubuntu: apt-get install valgrind)"
    exit 0
fi
built=$("$cargo" bench --locked -p vpc-ipam-core --bench instructions --no-run 2>&1) || {
    echo "$built"
    exit 1
}
binary=$(echo "$built" | sed -n 's/.*Executable benches\/instructions.rs (\(.*\))/\1/p')
report=$(mktemp)
trap 'rm -f "$report"' EXIT
printf '%-28s %16s\n' operation 'instructions'
"$binary" | grep -e "${1:-.}" | while read -r name times; do
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
        '--toggle-collect=*measured*' "$binary" "$name" 2>"$report" || { cat "$report"; exit 1; }
    sum=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$report")
    printf '%-28s %16s\n' "$name" "$((sum / times))"
done
