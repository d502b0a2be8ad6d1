#!/usr/bin/env bash
# Everything that must be green: style, types, tests, and live comparison with upstream Transformers and PEFT.
#
#   bash scripts/test.sh                 all of it; makes what it needs (.venv, .venv-reference, models/)
#   bash scripts/test.sh tests/adapters …    only these tests, with all checks before them
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

REFERENCE="$ROOT/.venv-reference"
UPSTREAM=(transformers==5.23.0 peft==0.21.2 accelerate==1.15.0 datasets==5.2.0 scikit-learn==1.9.1 scipy==1.17.1)
UPSTREAM+=(sentencepiece==0.2.3 protobuf) # upstream reads DeBERTa's spm.model with them
UPSTREAM+=(bitsandbytes==0.50.2)          # and keeps a base in 4 or 8 bits with it

install_upstream() {
  "$REFERENCE/bin/python" -m pip install --quiet --disable-pip-version-check "$TORCH"
  "$REFERENCE/bin/python" -m pip install --quiet --disable-pip-version-check "${UPSTREAM[@]}"
}

project_environment dev
make_environment "$REFERENCE" "$TORCH ${UPSTREAM[*]}" install_upstream
bash "$ROOT/scripts/minilm.sh"
cd "$ROOT"

say "Style"
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check --quiet . || fail "the files above are not formatted; run: $VENV/bin/ruff format ."
say "Types"
"$VENV/bin/mypy"
say "Tests"
# One test file to a worker, one thread to a process: threads of several processes on few cores wait for each other.
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
exec "$VENV/bin/python" -m pytest -q --numprocesses auto --dist loadfile --durations=15 "$@"
