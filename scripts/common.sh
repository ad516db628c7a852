# Sourced by the scripts beside it: makes the virtual environment they run in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export TERCIO_ALLOW_ROOT=1 # the demo, the tests and what measures run as whoever calls them

fail() {
    printf '%s\n' "$*" >&2
    exit 2
}

# The first of these that is 3.11 or newer; PYTHON=… chooses another one.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "Tercio needs Python 3.11 or newer; set PYTHON=/path/to/python"
}

# The program of a version such as 3.12, on the path or below pyenv; nothing if it is not here.
python_of() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'pass' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
}

# Versions that Tercio supports, are on this machine, and are not that of the Python given.
other_pythons() {
    local version
    for version in 3.11 3.12 3.13 3.14; do
        "$1" -c "import sys; sys.exit('$version' != '%d.%d' % sys.version_info[:2])" && continue
        [ -z "$(python_of "$version")" ] || printf '%s\n' "$version"
    done
}

# make_venv DIRECTORY [--python VERSION] PIP-ARGUMENTS...: install again only when pyproject.toml
# has changed.
make_venv() {
    local directory=$1 python=""
    shift
    if [ "$1" = --python ]; then
        python=$(python_of "$2")
        shift 2
    fi
    local stamp="$directory/.tercio-installed" wanted
    wanted="$* $(cksum <pyproject.toml)"
    if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && [ -x "$directory/bin/python" ]; then
        return
    fi
    [ -n "$python" ] || python=$(find_python)
    # A half-made one, or one whose Python is gone, is no use.
    rm -rf "$directory"
    "$python" -m venv "$directory" ||
        fail "python -m venv failed: on Debian and Ubuntu, install python3-venv"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    printf '%s' "$wanted" >"$stamp"
}

# The browser of the dashboard's tests: the one that is here, or Debian's where we may install it.
need_browser() {
    local candidate
    for candidate in chromium chromium-browser google-chrome; do
        command -v "$candidate" >/dev/null && return
    done
    [ "$(uname)" = Linux ] || return 0 # there those tests are left out
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        if apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium; then
            return
        fi >/dev/null
    fi
    fail "the dashboard's tests need Chromium: install one (Debian: apt-get install chromium)"
}

# What makes pytest run tests in several processes: one more than there are cores, because most of
# them wait most of the time. Those marked `alone` have the machine for themselves all the same.
side_by_side() {
    printf -- '-n %s --dist worksteal' "$(($(getconf _NPROCESSORS_ONLN) + 1))"
}
