#!/bin/sh
# Check this machine before `make up-p1`: GPU, WSL2, engine, models, ports, disk, Docker.
# Makes the project's environment first if it is not there. Exit code 0 only if `up` will work.
# Further words go to the command: scripts/preflight.sh --json
set -eu
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" scripts/bootstrap.py >&2
exec .venv/bin/lais preflight "$@"
