#!/usr/bin/env bash
# ./test.sh [pytest arguments]: makes .venv on the first run, then checks the code with ruff and runs the tests. Without
# arguments one process for each core, four at most, takes test files in their order: fixtures of a file are made once.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"
. utils/setup_env.sh
setup_env requirements.txt requirements-dev.txt

"$VENV_PYTHON" -m ruff check .
[ $# -gt 0 ] || set -- --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
"$VENV_PYTHON" -m pytest "$@"
