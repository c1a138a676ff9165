#!/bin/sh
# Dependencies point one way: core <- {eni-aws, datapath-linux} <- plugin <- ipamd <- examples.
# Reads cargo's resolved graph; compiles nothing.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
failed=0

# tree PACKAGE [FLAGS]: names in the normal dependency tree, one a line.
tree() {
    "$CARGO" tree --locked -e normal --prefix none -f '{p}' -p "$@" | awk '{ print $1 }' | sort -u
}

# forbid WHAT PATTERN PACKAGE [FLAGS]: no name in PACKAGE's tree may match PATTERN.
forbid() {
    what=$1 pattern=$2
    shift 2
    bad=$(tree "$@" | grep -Ex "$pattern" || true)
    if [ -n "$bad" ]; then
        echo "error: $1 must not depend on $what, but its tree has:" $bad >&2
        echo "       see: cargo tree -e normal -p $* -i $(echo "$bad" | head -n 1)" >&2
        failed=1
    else
        echo "ok: $* is free of $what"
    fi
}

io='tokio|libc|nix|mio|rustix|socket2|rand|getrandom|chrono|time'
sdk='aws-.*'
tls='rustls.*|openssl.*|native-tls|aws-lc-.*|ring'
kube='kube.*|k8s-openapi'

forbid "I/O, clocks and randomness" "$io|$sdk|$kube" vpc-ipam-core
forbid "I/O, clocks and randomness" "$io|$sdk|$kube" vpc-ipam-core --features testkit
forbid "an async runtime" "tokio|async-std|smol|$sdk|$kube" vpc-datapath-linux
forbid "the cloud adapter" "vpc-eni-aws" vpc-datapath-linux --features testkit
forbid "the datapath" "vpc-datapath-linux|netlink-.*" vpc-eni-aws --features emulator
forbid "the SDK" "$sdk|$tls|$kube" vpc-eni-aws --no-default-features --features emulator
forbid "the SDK, TLS and Kubernetes" "$sdk|$tls|$kube|vpc-eni-aws" vpc-cni-plugin
forbid "the SDK" "$sdk|$tls|$kube" vpc-examples

# The core's sources name nothing of std that reads a clock, the environment, files, sockets or threads.
# Tests may. Clippy bans the usual calls as well (vpc-ipam-core/clippy.toml); this needs no list of calls.
impure='env|fs|io|os|process|thread|Instant|SystemTime|TcpListener|TcpStream|UdpSocket|RandomState'
named=$(find vpc-ipam-core/src -name '*.rs' ! -path '*/tests/*' ! -name '*tests.rs' -exec sed -s '/#\[cfg(test)\]/,$d; s|//.*||' {} + |
    tr '\n' ' ' | grep -oE '\bstd::(\{[^;]*;|[A-Za-z_:]+)' | grep -owE "$impure" | sort -u | paste -sd ' ' || true)
if [ -n "$named" ]; then
    echo "error: vpc-ipam-core must not use std's $named: it is told the time and asks for what it wants done" >&2
    failed=1
else
    echo "ok: vpc-ipam-core names no clock, environment, file, socket or thread"
fi

# The SDK must have the same features in a build with and without dev-dependencies.
features() {
    "$CARGO" tree --locked --workspace -e "$1,no-proc-macro" --prefix none -f '{p} [{f}]' | sed 's/ (.*)//; s/ (\*)//' | sort -u
}
closure=$("$CARGO" tree --locked -e normal,no-proc-macro --prefix none -f '{p}' -p vpc-eni-aws | awk '{ print $1 }' | sort -u)
differing=$( (features normal; features normal,dev) | sort | uniq -u | awk '{ print $1 }' | sort | uniq -d)
for name in $differing; do
    if echo "$closure" | grep -qx "$name"; then
        echo "error: features of $name differ between programs and tests; the AWS SDK would be compiled twice." >&2
        echo "       pin them in vpc-eni-aws/Cargo.toml beside \`either\`" >&2
        failed=1
    fi
done
[ "$failed" -eq 1 ] || echo "ok: one set of features for programs and tests"
exit "$failed"
