#!/usr/bin/env bash
# Runs every snippet of docs/ as a reader would: real processes, a real small model, trainings to their end.
#
#   bash scripts/docs_test.sh                        all pages, a quarter of an hour on two quiet cores
#   bash scripts/docs_test.sh tutorials/ner.md …     some pages
#
# The tests run them too, with tiny models and trainings of two steps.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment dev
bash "$ROOT/scripts/minilm.sh"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONPATH="$ROOT/src:$ROOT/tests/support:$ROOT/examples/text-classification"
exec "$VENV/bin/python" "$ROOT/tests/docs/run_all.py" "$@"
