#!/usr/bin/env bash
# Runs the peer in TorchSharp/ with the arguments given. libtorch's native library needs a libstdc++ that Debian 12 is too old for: where
# the system's is, the peer runs in a Debian 13 root, made once by debootstrap and kept in the user's cache folder. Standard output is the
# peer's alone. Needs the .NET SDK; for the root also Linux on x64, root rights, and debootstrap.
set -euo pipefail

fail() {
    echo "torch-root.sh: $*" >&2
    exit 1
}

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/../../.ci/debian-root.sh"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sdilgpu-peers
root=$cache/$debian_release
program=StableDiffusion.Ilgpu.Peers.TorchSharp

[ "$(uname -sm)" = "Linux x86_64" ] || fail "the TorchSharp peer runs on Linux on x64 only"
command -v dotnet > /dev/null || fail "dotnet is missing"

# What PyTorch's tuning advice comes to without other libraries: freed memory is kept, so that no tensor pays for fresh pages, and threads
# that wait sleep instead of spinning. Measured in turns at 64x64: a UNet step of 2.0 s became one of 1.2 s.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 MALLOC_TOP_PAD_=268435456 OMP_WAIT_POLICY=PASSIVE

# One publish at a time; it copies what is new.
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
dotnet publish -c Release --nologo -v quiet -o "$cache/peer" "$folder/TorchSharp" >&2 || fail "the peer cannot be built"

# True if the system's libstdc++ has every version of its symbols that the libraries ask for.
is_new_enough() {
    local library
    library=$(ldconfig -p | awk '/libstdc\+\+\.so\.6 .*x86-64/ { print $NF; exit }')
    [ -n "$library" ] || return 1
    comm -23 <(versions "$cache"/peer/lib*.so) <(versions "$library") | grep -q . && return 1 || return 0
}

versions() {
    grep -ahoE 'GLIBCXX_3(\.[0-9]+)+' "$@" | sort -u
}

if is_new_enough; then
    flock -u 9
    exec "$cache/peer/$program" "$@" 9>&-
fi

make_debian_root "$root" libstdc++6 "this system's libstdc++ is too old for libtorch"
flock -u 9
exec 9>&-
run_in_root "$root" "$cache/peer:/opt/peer" "/opt/peer/$program" "$@"
