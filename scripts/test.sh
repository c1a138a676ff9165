#!/bin/sh
# Runs every test of the workspace and adds up the results.
#
# A test that cannot run on this machine appends "SKIP <name>: <reason>" to $VPC_CNI_SKIP_LOG and
# returns; such tests are counted as skipped, not as passed.
set -u
cd "$(dirname "$0")/.." || exit 1

out=${CARGO_TARGET_DIR:-target}/test-report
mkdir -p "$out"
log=$out/log.txt
skips=$out/skips.txt
: >"$skips"
VPC_CNI_SKIP_LOG=$(cd "$out" && pwd)/skips.txt
export VPC_CNI_SKIP_LOG

# Foreign EC2 clients and servers, which some tests talk to; without them these tests are skipped.
foreign=${CARGO_TARGET_DIR:-target}/foreign
if why=$(scripts/foreign.sh "$foreign"); then
    VPC_CNI_FOREIGN=$(cd "$foreign" && pwd)
    export VPC_CNI_FOREIGN
else
    export VPC_CNI_FOREIGN_WHY="$why"
fi

# The exit status of a pipe is that of its last command, so keep cargo's in a file.
{ "${CARGO:-cargo}" test --locked --workspace --no-fail-fast "$@" 2>&1; echo $? >"$out/status"; } | tee "$log"
status=$(cat "$out/status")

if [ -s "$skips" ]; then
    echo
    sort -u "$skips"
fi
echo
awk -v skips="$(sort -u "$skips" | grep -c .)" -v status="$status" '
    /^test result:/ {
        for (i = 1; i <= NF; i++) {
            if ($(i + 1) ~ /^passed/) passed += $i
            if ($(i + 1) ~ /^failed/) failed += $i
            if ($(i + 1) ~ /^ignored/) ignored += $i
        }
    }
    END {
        # A test binary that dies reports nothing; do not let that look like success.
        if (status != 0 && failed == 0) failed = 1
        printf "%d passed, %d failed, %d skipped\n", passed - skips, failed, skips + ignored
        exit (failed > 0 || passed - skips <= 0)
    }' "$log"
