# Sourced by demo.sh and test.sh in the repository's folder. `setup_env requirements.txt ...` makes .venv where it is
# missing and installs what these files list. A copy of each installed list is kept in .venv, so that the next run only
# compares texts. Works with bash 3.2 and in a folder with spaces in its path.

VENV_PYTHON=.venv/bin/python
PIP_LOG=.venv/install.log
unset PYTHONHOME PYTHONPATH

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_supported() {
    case $1 in 3.10 | 3.11 | 3.12 | 3.13) true ;; *) false ;; esac
}

# Sets `python` to the interpreter $PYTHON, or else to the first one on PATH that can make the environment.
find_python() {
    local candidate version others='' without_venv=''
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3.10 python3 python; fi
    for candidate; do
        version=$(python_version "$candidate") || continue
        if ! is_supported "$version"; then
            others="$others, $candidate is Python $version"
        elif ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            without_venv="$candidate (Python $version)"
        else
            python=$candidate
            return
        fi
    done
    [ -z "$without_venv" ] || fail "$without_venv comes without its venv module, which makes .venv." \
        "On Debian and Ubuntu: sudo apt install python3-venv, then run this again."
    [ -n "$others" ] || others=", ${PYTHON:-python3} does not start"
    fail "Python 3.10, 3.11, 3.12 or 3.13 is needed${others}." \
        "Install one of them, or name it: PYTHON=/path/to/python3.12 $0"
}

# What the stamp of a requirements file holds once that file is installed.
wanted() {
    "$VENV_PYTHON" -V 2>/dev/null && cat "$1"
}

is_installed() {
    [ -x "$VENV_PYTHON" ] && [ -f ".venv/$1.installed" ] && [ "$(cat ".venv/$1.installed")" = "$(wanted "$1")" ]
}

# Sets `missing` to the pip arguments for those of the files $@ that .venv does not hold yet.
find_missing() {
    local file
    missing=''
    for file; do is_installed "$file" || missing="$missing -r $file"; done
}

# Two runs in one folder take turns: the kernel drops the lock when the last process that has it open ends.
take_turn() {
    mkdir -p .venv
    exec 9>.venv/setup.lock
    "$python" -c '
import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Another run is setting up .venv: waiting for it.", flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
'
}

was_cut_short() {
    [ -f "$PIP_LOG" ] && grep -q '^Installing collected packages' "$PIP_LOG" && ! grep -q '^Successfully installed' "$PIP_LOG"
}

make_venv() {
    if was_cut_short || [ -z "$(python_version "$VENV_PYTHON")" ]; then
        [ "$python" != "$VENV_PYTHON" ] || find_python
        echo "Making .venv with $python (Python $(python_version "$python"))."
        find .venv -mindepth 1 -maxdepth 1 ! -name setup.lock -exec rm -rf {} +
        "$python" -m venv .venv || fail "$python could not make .venv: see the lines above."
    elif ! "$VENV_PYTHON" -c 'import pip' 2>/dev/null; then
        "$VENV_PYTHON" -m ensurepip >/dev/null || fail "pip cannot be put into .venv: remove that folder and run this again."
    fi
}

# Shortens pip's output to its larger downloads and its steps.
show_progress() {
    local first second size unit
    while read -r first second size unit; do
        case "$first $second $size $unit" in
            Downloading*.whl\ *MB\)) second=${second##*/}; echo "  downloading ${second%-*-*-*} $size $unit" ;;
            *Retrying*total=4*) echo "  no connection, trying again" ;;
            Installing\ collected*) echo "  unpacking" ;;
        esac
    done
}

explain_pip() {
    if grep -q 'No space left on device' "$PIP_LOG"; then
        echo "The disk is full; .venv takes about 2.5 GB."
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Network is unreachable' "$PIP_LOG"; then
        echo "pip cannot reach the package index: is there a network connection?"
    else
        echo "pip could not install the packages: $(grep '^ERROR' "$PIP_LOG" | tail -n 1)"
    fi
}

setup_env() {
    local python=$VENV_PYTHON version missing file
    find_missing "$@"
    [ -n "$missing" ] || return 0
    version=$(python_version "$VENV_PYTHON") || find_python
    [ -z "$version" ] || is_supported "$version" ||
        fail ".venv holds Python $version; 3.10, 3.11, 3.12 or 3.13 is needed." "Remove the folder .venv and run this again."
    take_turn
    find_missing "$@"
    if [ -n "$missing" ]; then
        make_venv
        find_missing "$@"
        echo "Installing$missing into .venv. The first time this takes some minutes and about 2.5 GB."
        for file; do is_installed "$file" || rm -f ".venv/$file.installed"; done
        "$VENV_PYTHON" -m pip install --disable-pip-version-check --no-input $missing 2>&1 </dev/null | tee "$PIP_LOG" | show_progress ||
            fail "$(explain_pip)" "All that pip said is in $PIP_LOG. Run $0 again to go on."
        for file; do wanted "$file" >.venv/stamp && mv .venv/stamp ".venv/$file.installed"; done
        echo "  done after $SECONDS s"
    fi
    exec 9>&-
}
