# shellcheck shell=sh
# Node, for building the web client. Sourced after apt.sh.
#
# node_packages  prints what is to be installed for Node: nothing where there is one, of whatever kind
# node_found   0 when there is a Node of NODE_MIN or newer, with npm
# need_node    the same; installs Debian's where there is none at all, otherwise exits with 2 and
#              says what is wrong: apt's npm beside somebody else's Node breaks both.

NODE_MIN=18.19

node_version() {
    node --version 2>/dev/null | sed -n 's/^v\([0-9]*\.[0-9]*\).*/\1/p'
}

# 18.19 <= $1, by numbers.
node_is_new() {
    [ -n "$1" ] || return 1
    [ "${1%%.*}" -gt "${NODE_MIN%%.*}" ] ||
        { [ "${1%%.*}" -eq "${NODE_MIN%%.*}" ] && [ "${1#*.}" -ge "${NODE_MIN#*.}" ]; }
}

node_found() {
    node_is_new "$(node_version)" && command -v npm >/dev/null 2>&1
}

# Is the Node of this machine the one of Debian, which apt's npm belongs to?
node_is_debian() {
    dpkg-query -W -f '${Maintainer}' nodejs 2>/dev/null | grep -q -i debian
}

node_packages() {
    if ! node_found && { ! command -v node >/dev/null 2>&1 || node_is_debian; }; then
        echo nodejs npm
    fi
}

need_node() {
    node_found && return 0
    if command -v node >/dev/null 2>&1 && ! node_is_debian; then
        echo "The web client needs Node $NODE_MIN or newer with npm; $(command -v node) is" \
            "$(node --version 2>/dev/null || echo broken)$(command -v npm >/dev/null ||
                echo ' without npm')." >&2
        echo "Put a newer one in PATH, or leave the web client out: ./run --no-web" >&2
        exit 2
    fi
    need_packages nodejs npm
    node_found && return 0
    echo "The web client needs Node $NODE_MIN or newer with npm, and Debian's is not:" \
        "leave the web client out with ./run --no-web" >&2
    exit 2
}
