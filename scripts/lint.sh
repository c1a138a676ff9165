#!/bin/sh
# Formatting, clippy with warnings denied, direction of dependencies, licences.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}

step() { printf '\n== %s\n' "$*"; }

step "rustfmt"
"$CARGO" fmt --all --check

step "direction of dependencies"
scripts/check-deps.sh

step "clippy"
"$CARGO" clippy --locked --workspace --all-targets -- -D warnings

if "$CARGO" deny --version >/dev/null 2>&1; then
    step "cargo deny"
    "$CARGO" deny --locked check bans licenses sources
else
    step "cargo deny: not installed, licences and bans not checked (cargo install cargo-deny)"
fi
