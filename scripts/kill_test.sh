#!/usr/bin/env bash
# Kills tiny trainings of ten configurations, and compares the end of each with that of the uninterrupted run.
#
#   bash scripts/kill_test.sh                        500 kills -> benchmarks/results/kills.json
#   bash scripts/kill_test.sh --kills 50 --seed 1000      others
#
# What does not end bit-identical is printed with its folder; the exit code is then 1.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONPATH="$ROOT/src"
for folder in examples examples/text-classification tests/support tests/kills; do
    PYTHONPATH+=":$ROOT/$folder"
done
exec "$VENV/bin/python" "$ROOT/tests/kills/kill_all.py" "$@"
