# shellcheck shell=sh disable=SC2154
# Building, shared by ./run, ./test and the Makefile. Sourced, with $root set to the project's
# folder.
#
# BUILD_PACKAGES            what a build of the programs needs from Debian
# build_preset PRESET [TARGET...]   configures build/PRESET where needed and builds; returns non-zero
#                         and prints the tool's output when that fails. CONFAB_WERROR is on with
#                         CI=true only: a newer compiler must not stop anybody's build.
#
# CONFAB_WEB=ON, OFF or FOLDER in the environment says which web client to embed (cmake/web.cmake);
# without it a build folder keeps what it had, and a new one gets ON.
#
# A build folder that was configured for another place (a moved or copied clone) is made anew; one
# is configured again after packages were installed, since CMake remembers what it did not find. One
# build at a time: build/.lock.

# shellcheck disable=SC2034  # used by those that source this
BUILD_PACKAGES="cmake ninja-build gcc libc6-dev pkg-config librocksdb-dev libsqlite3-dev
    libutf8proc-dev libsodium-dev libzstd-dev liblz4-dev libxxhash-dev libssl-dev libcurl4-openssl-dev libbrotli-dev zlib1g-dev
    libqrencode-dev libzxcvbn-dev"

build_configure() {
    dir=$root/build/$1
    cache=$dir/CMakeCache.txt
    if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then
        echo "build/$1 was configured for another folder: making it anew" >&2
        rm -rf "$dir"
    fi
    werror=OFF
    [ "${CI:-}" = true ] && werror=ON
    web=${CONFAB_WEB:-$(sed -n 's/^CONFAB_WEB:STRING=//p' "$cache" 2>/dev/null || true)}
    web=${web:-ON}
    if [ -f "$dir/build.ninja" ] && grep -qx "CONFAB_WERROR:BOOL=$werror" "$cache" &&
        grep -qxF "CONFAB_WEB:STRING=$web" "$cache" &&
        [ -z "$(find /var/lib/dpkg/status -newer "$dir/configure.log" 2>/dev/null)" ] &&
        [ -z "$(find "$root/CMakePresets.json" -newer "$cache")" ]
    then
        return 0
    fi
    mkdir -p "$dir"
    if ! (cd "$root" && cmake --preset "$1" -DCONFAB_WERROR=$werror "-DCONFAB_WEB=$web") >"$dir/configure.log" 2>&1
    then
        cat "$dir/configure.log" >&2
        return 1
    fi
}

build_preset() {
    preset=$1
    shift
    mkdir -p "$root/build"
    (
        flock 9
        build_configure "$preset" || exit 1
        if [ -t 1 ]; then
            ninja -C "$root/build/$preset" --quiet "$@"
        else
            log=$root/build/$preset/build.log
            ninja -C "$root/build/$preset" "$@" >"$log" 2>&1 || {
                grep -v '^\[[0-9]*/[0-9]*\] [A-Z]' "$log" | head -n 200 >&2
                exit 1
            }
            # Warnings would be lost in the log otherwise.
            grep -E -A3 ': warning:' "$log" | head -n 100 >&2
            exit 0
        fi
    ) 9>"$root/build/.lock"
}
