#!/usr/bin/env bash
# From a fresh Debian or Ubuntu to a mounted demo project: installs what is missing, makes a virtual
# environment in .venv, writes the demo project, mounts it, reads and writes through the mount. Run it
# again at any time.
#
#   scripts/mount-dev.sh [MOUNTPOINT]
#
# The demo project is in demo/ of this checkout's .venv, the mount point ~/copickfs-demo unless given.
set -euo pipefail

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$checkout/.venv
project=$venv/demo
mountpoint=${1:-$HOME/copickfs-demo}

say() { printf '==> %s\n' "$*"; }
fail() {
    printf 'mount-dev.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "these need root, and there is no sudo: $*"
    fi
}

# The newest Python from 3.11 on; its name, or nothing.
find_python() {
    local candidate
    for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

# Debian packages that are missing, one to a line.
missing_packages() {
    local python=$1
    command -v fusermount3 >/dev/null || echo fuse3
    command -v pkg-config >/dev/null || echo pkg-config
    command -v gcc >/dev/null || echo gcc
    if ! command -v pkg-config >/dev/null || ! pkg-config --exists fuse3; then
        echo libfuse3-dev
    fi
    local name
    if [ -z "$python" ]; then
        for name in python3.14 python3.13 python3.12 python3.11 python3; do
            if apt-cache show "$name" >/dev/null 2>&1; then
                printf '%s\n' "$name" "$name-venv" "$name-dev"
                return
            fi
        done
    fi
    # A Python of Debian's comes in parts; one built by hand is whole.
    name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip' 2>/dev/null || echo "$name-venv"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || echo "$name-dev"
}

install_packages() {
    local packages
    if [ -z "$(find_python)" ] && command -v apt-get >/dev/null; then
        as_root apt-get update -q # or it does not know which Python there is
    fi
    mapfile -t packages < <(missing_packages "$(find_python)")
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "not Debian or Ubuntu: install these yourself: ${packages[*]}"
    say "installing ${packages[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# Without udev, as in a container, only root may open the device, which is then often made with mode
# 0600; with udev it is 0666.
open_fuse_device() {
    [ ! -c /dev/fuse ] || { [ -r /dev/fuse ] && [ -w /dev/fuse ]; } && return
    say "making /dev/fuse accessible to every user"
    as_root chmod 666 /dev/fuse
}

# Installs the checkout, again only if its dependencies have changed.
install_copickfs() {
    local python stamp=$venv/copickfs-installed
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is needed; this system has $(python3 --version 2>&1 || echo none)"
    if [ -x "$venv/bin/copickfs" ] && cmp -s "$checkout/pyproject.toml" "$stamp"; then
        return
    fi
    say "installing copickfs into $venv ($python)"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable "$checkout"
    cp "$checkout/pyproject.toml" "$stamp"
}

make_demo() {
    [ -e "$project/config.json" ] && return
    say "writing the demo project to $project"
    "$venv/bin/copickfs" demo "$project" >/dev/null
}

mount_demo() {
    if "$venv/bin/copickfs" status "$mountpoint" >/dev/null 2>&1; then
        say "already mounted at $mountpoint"
        return
    fi
    say "mounting it at $mountpoint"
    mkdir -p "$mountpoint" 2>/dev/null || true # a dead mount is there: the next line cleans it
    "$venv/bin/copickfs" mount "$project/config.json" "$mountpoint"
}

show() {
    say "the merged runs, and one of them:"
    ls "$mountpoint/ExperimentRuns"
    (cd "$mountpoint/ExperimentRuns" && find TS_002 -maxdepth 2 -not -name '.*' | sort)
    say "a note on TS_001, which only the layer lab has, is written through the mount into your own layer, mine:"
    printf 'Tilt 17 is blurred.\n' >"$mountpoint/ExperimentRuns/TS_001/notes.txt"
    (cd "$project" && grep -r . --include=notes.txt lab mine)
    "$venv/bin/copickfs" status "$mountpoint"
    cat <<MESSAGE
Look around:  ls $mountpoint/ExperimentRuns
As MRC, STAR: ls $mountpoint/Views/TS_001/*
With copick:  $venv/bin/python -c "import copick; print(copick.from_file('$mountpoint/copick_config.json').runs)"
Unmount:      $venv/bin/copickfs umount $mountpoint
MESSAGE
}

install_packages
open_fuse_device
install_copickfs
make_demo
mount_demo
show
