#!/bin/sh
# Installs foreign EC2 clients and an EC2 server from PyPI into DIR, unless they are there already. Says why if it cannot.
# usage: foreign.sh DIR
set -eu
cd "$(dirname "$0")"
dir=$1
list=foreign-requirements.txt
if cmp -s "$list" "$dir/installed.txt"; then
    exit 0
fi
if ! command -v python3 >/dev/null; then
    echo "python3 is not installed"
    exit 1
fi
rm -rf "$dir"
if ! python3 -m venv "$dir" >/dev/null 2>&1; then
    echo "python3 -m venv fails (Debian: install python3-venv)"
    exit 1
fi
if ! problem=$("$dir/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$list" 2>&1); then
    echo "pip cannot install scripts/$list: $(printf '%s' "$problem" | tail -n 1)"
    exit 1
fi
cp "$list" "$dir/installed.txt"
