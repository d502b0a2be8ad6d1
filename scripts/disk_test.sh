#!/usr/bin/env bash
# Trains on disks of every size from nothing to enough, and repeats each command when there is space.
#
#   bash scripts/disk_test.sh                 every size, in pages of 4 KiB -> benchmarks/results/full_disks.json
#   bash scripts/disk_test.sh --every 20      some sizes
#
# What does not end as it should is printed; the exit code is then 1. Linux only: the disks are mounted in memory.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONPATH="$ROOT/src"
exec "$VENV/bin/python" "$ROOT/tests/faults/full_disks.py" "$@"
