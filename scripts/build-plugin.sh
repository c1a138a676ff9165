#!/bin/sh
# Builds the CNI plugin as one static file and copies it to <target>/plugin/aws-cni.
#
# musl makes the smaller file and the faster start, but its standard library may be missing; glibc
# links statically too, which is safe here since the plugin resolves no names. PLUGIN_TARGET overrides
# the choice.
set -eu
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
rustc=${RUSTC:-rustc}
target_dir=${CARGO_TARGET_DIR:-target}
host=$("$rustc" -vV | sed -n 's/^host: //p')
arch=${host%%-*}

if [ -n "${PLUGIN_TARGET:-}" ]; then
    target=$PLUGIN_TARGET
elif [ -d "$("$rustc" --print sysroot)/lib/rustlib/$arch-unknown-linux-musl/lib" ]; then
    target=$arch-unknown-linux-musl
else
    target=$arch-unknown-linux-gnu
fi
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
export RUSTFLAGS

"$cargo" build --locked --profile plugin -p vpc-cni-plugin --bin aws-cni --target "$target"

built=$target_dir/$target/plugin/aws-cni
dest=$target_dir/plugin/aws-cni
mkdir -p "$target_dir/plugin"
# The file may be running: replace it, do not write into it.
cp "$built" "$dest.tmp"
mv -f "$dest.tmp" "$dest"

# A file that names an interpreter (program header of type 3) needs a dynamic loader.
number() { od -An -j "$1" -N "$2" -t "u$2" "$dest" | tr -d ' '; }
offset=$(number 32 8)
size=$(number 54 2)
count=$(number 56 2)
while [ "$count" -gt 0 ]; do
    if [ "$(number "$offset" 4)" -eq 3 ]; then
        echo "$dest is not static: it names an interpreter" >&2
        exit 1
    fi
    offset=$((offset + size))
    count=$((count - 1))
done
echo "$dest: static, $target, $(wc -c <"$dest") bytes"
case $target in
    *-musl) ;;
    *) echo "built with glibc: starts about half a millisecond slower; rustup target add $arch-unknown-linux-musl" ;;
esac
