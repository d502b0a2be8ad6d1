#!/usr/bin/env bash
# Damages files by the hundred thousand and reads them: each must be refused in one line, or mean what it says.
#
#   bash scripts/fuzz.sh                        200,000 inputs over all readers -> benchmarks/results/fuzz.json
#   bash scripts/fuzz.sh --inputs 5000 --first 7000000      others: the first seed of every reader
#   bash scripts/fuzz.sh --readers spm-model bin            some readers
#
# A fault is printed with the command that repeats it; the exit code is then 1.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONPATH="$ROOT/src"
exec "$VENV/bin/python" "$ROOT/tests/fuzz/fuzz_all.py" "$@"
