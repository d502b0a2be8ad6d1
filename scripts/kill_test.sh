#!/usr/bin/env bash
# Kills tiny trainings of fourteen configurations, and compares the end of each with that of the uninterrupted run.
#
#   bash scripts/kill_test.sh                        500 kills -> benchmarks/results/kills.json
#   bash scripts/kill_test.sh --kills 50 --seed 1000      others
#   bash scripts/kill_test.sh --configurations answers endings      some
#
# What does not end bit-identical is printed with its folder; the exit code is then 1.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONPATH="$ROOT/src"
for folder in "$ROOT"/examples "$ROOT"/examples/*-* "$ROOT"/tests/support "$ROOT"/tests/kills; do
    PYTHONPATH+=":$folder"
done
exec "$VENV/bin/python" "$ROOT/tests/kills/kill_all.py" "$@"
