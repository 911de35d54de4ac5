# shellcheck shell=bash
# Sourced by every lane: where the project is, how many cores, how a step is shown and run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${MIG_JOBS:-$(nproc)}
# Tests wait for servers and clocks as long as they work.
# shellcheck disable=SC2034 # for the lanes
tests_at_once=$((jobs * 2))
export PYTHONDONTWRITEBYTECODE=1
cd "$root"

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$(basename "$0"): $*"
    exit 1
}

# Shows a command, then runs it.
run() {
    say "+ $*"
    "$@"
}

# Runs a command quietly: what it printed is shown only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || { say "+ $*"; cat "$log" >&2; }
    rm -f "$log"
    return "$status"
}

# Configures and builds a preset in build/NAME: build_preset NAME [cmake argument ...].
build_preset() {
    local name=$1
    shift
    say "+ cmake --preset $name $* && cmake --build build/$name"
    quietly cmake --preset "$name" "$@"
    quietly cmake --build "build/$name" -j "$jobs"
}

# The project's own C files, one a line.
c_files() {
    find libmigrate tools tests -name '*.[ch]' -not -path '*/corpus/*' | sort
}
