#!/bin/sh
# Fuzzes every target, or those named, for FUZZ_SECONDS each. Findings land in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
PATH=$PATH:$tools/bin

if ! "$CARGO" fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz in $tools (about a minute)"
    "$CARGO" install cargo-fuzz --locked --root "$tools"
fi

# libFuzzer needs unstable compiler flags; this allows them on the stable toolchain.
RUSTC_BOOTSTRAP=1
export RUSTC_BOOTSTRAP
targets=${*:-$("$CARGO" fuzz list)}
for target in $targets; do
    echo "== $target, ${FUZZ_SECONDS:-60} s"
    # What earlier runs found worth keeping; new finds go to the first folder, which is not committed.
    set -- "fuzz/corpus/$target"
    mkdir -p "$1"
    [ -d "fuzz/seeds/$target" ] && set -- "$@" "fuzz/seeds/$target"
    "$CARGO" fuzz run "$target" "$@" -- -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1
done
