#!/usr/bin/env bash
# ./test.sh [pytest arguments]: makes .venv on the first run, then checks the code with ruff and runs the tests.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"
. utils/setup_env.sh
setup_env requirements.txt requirements-dev.txt

"$VENV_PYTHON" -m ruff check .
"$VENV_PYTHON" -m pytest "$@"
