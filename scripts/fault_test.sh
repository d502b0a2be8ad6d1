#!/usr/bin/env bash
# Lets every writing system call of a run fail in turn, and repeats the command: benchmarks/results/machine_faults.json.
#
#   bash scripts/fault_test.sh                                  every call, four kinds of faults (about an hour)
#   bash scripts/fault_test.sh --faults "no space left"         one kind
#   bash scripts/fault_test.sh --every 23                       some calls, the kinds in turn
#   bash scripts/fault_test.sh --script run_qa --result FILE    another script than run_glue
#
# A fault that does not end as it should is printed; the exit code is then 1.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONPATH="$ROOT/src"
exec "$VENV/bin/python" "$ROOT/tests/faults/fault_all.py" "$@"
