# shellcheck shell=sh
# Debian packages, asked for by ./run and ./test. Sourced; needs nothing beyond a minimal Debian.
#
# need_packages NAME...   returns 0 when all are installed, installing those that are missing; exits
#                         with 2 and the one line to run when it may not install. dpkg is asked
#                         first, so that apt is not touched (no lock, no network) in the usual case.

apt_installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -q '^installed$'
}

# The list lock of `apt-get update` does not honour DPkg::Lock::Timeout: try again, a few times.
# A failure is not final: the packages may be in lists that are there already.
apt_update() {
    tries=0
    while [ "$tries" -lt 5 ]; do
        if $apt_as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update; then
            return 0
        fi
        tries=$((tries + 1))
        echo "apt-get update failed, try $tries of 5" >&2
        sleep $((tries * 3))
    done
    echo "package lists could not be updated; going on with those that are there" >&2
}

# Nothing of what is installed here is to run as a service, now or after the next boot: the packages
# of haproxy and nginx start theirs, on port 80 of all addresses.
APT_POLICY=/usr/sbin/policy-rc.d
apt_services="haproxy nginx"

apt_hold_services() {
    apt_held=
    [ -e "$APT_POLICY" ] && return 0
    printf '#!/bin/sh\nexit 101\n' | $apt_as_root tee "$APT_POLICY" >/dev/null &&
        $apt_as_root chmod 755 "$APT_POLICY" && apt_held=1
}

apt_release_services() {
    [ -z "$apt_held" ] || $apt_as_root rm -f "$APT_POLICY"
    for service in $apt_services; do
        case " $missing " in
        *" $service "*) $apt_as_root systemctl --quiet disable "$service" 2>/dev/null || true ;;
        esac
    done
}

need_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "This is not a Debian system: please install what stands for: $*" >&2
        return 0
    fi
    missing=
    for package in "$@"; do
        apt_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    by_hand="apt-get update && apt-get install -y --no-install-recommends$missing"
    apt_as_root=
    if [ "$(id -u)" -ne 0 ]; then
        # sudo may ask for a password where somebody is there to type it.
        if ! command -v sudo >/dev/null 2>&1 || { ! [ -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            printf 'Some packages are missing. Run this as root, then try again:\n  %s\n' \
                "$by_hand" >&2
            exit 2
        fi
        apt_as_root=sudo
    fi
    echo "Installing from Debian:$missing" >&2
    apt_update
    apt_log=$(mktemp)
    apt_hold_services
    # shellcheck disable=SC2086  # one word a package
    if ! $apt_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
        --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 $missing >"$apt_log" 2>&1; then
        apt_release_services
        tail -n 30 "$apt_log" >&2
        rm -f "$apt_log"
        printf 'Installing failed, see above. To try by hand, as root:\n  %s\n' "$by_hand" >&2
        exit 2
    fi
    apt_release_services
    rm -f "$apt_log"
}
