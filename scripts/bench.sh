#!/bin/sh
# Benchmarks. Each compares two things in one run, since absolute times mean little on a shared machine.
set -eu
cd "$(dirname "$0")/.."
"${CARGO:-cargo}" bench --locked -p vpc-ipam-core "$@"
