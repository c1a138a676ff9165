#!/bin/sh
# The figures that are reported come from release builds: sizes, resident memory, latencies.
# Compiles the SDK with thin LTO, so the first run takes about ten minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

"${CARGO:-cargo}" build --locked --release --workspace --bins
echo "plugin:  $(wc -c <"$target/plugin/aws-cni") bytes, static"
echo "daemon:  $(wc -c <"$target/release/aws-k8s-agent") bytes"
for mode in secondary prefix; do
    echo "== $mode mode, 40 pods on two m5.large"
    "$target/release/vpc-in-a-box" --bin-dir "$target/release" --mode "$mode" --json "$@" | tail -n 1
done
