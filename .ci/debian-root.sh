# Debian 13 in a folder, for programs that need newer libraries than this system has. To be sourced; the caller defines fail().

debian_release=trixie

# The mirror that this system itself installs from.
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }'
}

# make_debian_root FOLDER PACKAGES WHY: makes the root once, with these packages (separated by commas). What was begun and not finished is
# made anew.
make_debian_root() {
    local root=$1 packages=$2 why=$3 from
    [ -e "$root/etc/os-release" ] && return
    [ "$(uname -s)" = Linux ] || fail "$why, and a Debian root for it can be made on Linux only"
    [ "$(id -u)" = 0 ] || fail "$why, and only root can make a Debian root for it"
    command -v debootstrap > /dev/null || fail "$why, and debootstrap is missing (apt-get install debootstrap)"
    from=$(debian_mirror)
    [ -n "$from" ] || fail "apt knows no Debian mirror to make a root from"
    mkdir -p "$(dirname "$root")"
    rm -rf "$root.part"
    debootstrap --variant=minbase --include="$packages" "$debian_release" "$root.part" "$from" >&2 || fail "debootstrap failed"
    mv "$root.part" "$root"
}

# run_in_root ROOT FOLDERS COMMAND ARGS…: runs a command in the root, in place of this shell. It sees these folders (OUTSIDE or
# OUTSIDE:INSIDE, one a line), /proc, /sys and /dev, mounted in a namespace of its own: nothing stays mounted.
run_in_root() {
    exec unshare --mount bash -c '
        set -e
        root=$1
        while IFS=: read -r outside inside; do
            mkdir -p "$root${inside:-$outside}"
            mount --bind "$outside" "$root${inside:-$outside}"
        done <<< "$2"
        for system in /proc /sys /dev; do
            mount --rbind "$system" "$root$system"
        done
        shift 2
        exec chroot "$root" "$@"
    ' bash "$@"
}
