#!/usr/bin/env bash
# Runs the peer in TorchSharp/ with the arguments given. libtorch's native library needs a libstdc++ that Debian 12 is too old for: where
# the system's is, the peer runs in a Debian 13 root, made once by debootstrap and kept in the user's cache folder. Standard output is the
# peer's alone. Needs the .NET SDK; for the root also Linux on x64, root rights, and debootstrap.
set -euo pipefail

fail() {
    echo "torch-root.sh: $*" >&2
    exit 1
}

release=trixie
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sdilgpu-peers
root=$cache/$release
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

# The mirror that this system itself installs from.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }'
}

if is_new_enough; then
    flock -u 9
    exec "$cache/peer/$program" "$@" 9>&-
fi

if [ ! -e "$root/etc/os-release" ]; then
    [ "$(id -u)" = 0 ] || fail "this system's libstdc++ is too old for libtorch, and only root can make a Debian root for it"
    command -v debootstrap > /dev/null || fail "this system's libstdc++ is too old for libtorch, and debootstrap is missing (apt-get install debootstrap)"
    from=$(mirror)
    [ -n "$from" ] || fail "apt knows no Debian mirror to make a root from"
    rm -rf "$root.part"
    debootstrap --variant=minbase --include=libstdc++6 "$release" "$root.part" "$from" >&2 || fail "debootstrap failed"
    mv "$root.part" "$root"
fi

# Mounted in a namespace of the peer's own: nothing stays mounted.
mkdir -p "$root/opt/peer"
flock -u 9
exec unshare --mount bash -c '
    set -e
    mount --bind "$1/peer" "$2/opt/peer"
    mount --rbind /proc "$2/proc"
    root=$2 program=$3
    shift 3
    exec chroot "$root" "/opt/peer/$program" "$@"
' bash "$cache" "$root" "$program" "$@" 9>&-
