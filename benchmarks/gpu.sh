#!/usr/bin/env bash
# Everything that only a GPU can say, in one command: is it right, how fast is a step, and where does the time go?
#
#   bash benchmarks/gpu.sh               tests/gpu, then step tables and profiles (an NVIDIA GPU, about half an hour)
#   bash benchmarks/gpu.sh --quick       fewer settings and steps: some minutes
#   bash benchmarks/gpu.sh --dry-run     say what would be run; needs no GPU
#
# Results: benchmarks/results/gpu_tests.json, gpu_step.json, step_limit_gpu.json, and lora_step_*_gpu.json, which needs
# upstream + PEFT in .venv-reference (bash scripts/test.sh makes it) and is left out without. GLUE data: LORA_SHARED_DATA
# or ../shared/data. What fails is named at the end, and the exit code is then 1; where there is no GPU it is 2.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/_common.sh"

quick="" dry=""
for word in "$@"; do
  case "$word" in
    --quick) quick=1 ;;
    --dry-run) dry=1 ;;
    -h | --help)
      sed -n '2,/^source/{/^source/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) fail "it knows no '$word'; see bash benchmarks/gpu.sh --help" ;;
  esac
done

failed=()
# run WORDS…: run a Python command of the project's environment; the next ones come whatever becomes of it.
run() {
  say "$*"
  if [ -z "$dry" ] && ! "$VENV/bin/python" "$@"; then
    failed+=("$*")
  fi
}

if [ -z "$dry" ]; then
  nvidia-smi --list-gpus >/dev/null 2>&1 || fail "this machine has no NVIDIA GPU (nvidia-smi lists none)"
  data="${LORA_SHARED_DATA:-$ROOT/../shared/data}/glue"
  [ -d "$data" ] || fail "there is no GLUE data at $data; name its folder: LORA_SHARED_DATA=… bash $0"
  project_environment dev
  seen="$("$VENV/bin/python" -c 'import torch; print(torch.cuda.is_available(), torch.__version__)')"
  [ "${seen% *}" = True ] || fail "PyTorch ${seen#* } in $VENV sees no GPU; it needs a build with CUDA, as pip gives it on Linux"
fi
cd "$ROOT"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONPATH="$ROOT/src"
results=benchmarks/results

run benchmarks/gpu_tests.py

models=(roberta-base deberta-v3-base) rounds=10 steps=30
[ -n "$quick" ] && rounds=3 steps=10 || models+=(roberta-large deberta-v2-xlarge)
for model in "${models[@]}"; do
  for size in 16 64; do
    for way in "" --cuda_graphs; do
      run benchmarks/gpu_step.py "$model" --batch_size "$size" --steps "$steps" $way
    done
  done
  run benchmarks/gpu_step.py "$model" --all-linear --steps "$steps"
  for kind in "" --evaluate; do
    run benchmarks/step_limit.py "$model" --device cuda --batch_size 64 --rounds "$rounds" $kind --output "$results/step_limit_gpu.json"
  done
done
reference="${LORA_REFERENCE_PYTHON:-$ROOT/.venv-reference/bin/python}"
if [ -n "$dry" ] || "$reference" -c 'import torch, peft, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  for model in roberta-base deberta-v3-base; do
    for way in "" --all-linear --cuda_graphs; do
      run benchmarks/lora_step.py "$model" --device cuda --rounds "$rounds" --threads 8 $way
    done
  done
else
  say "No comparison with upstream + PEFT: $reference has no GPU build of them"
fi

if [ "${#failed[@]}" -gt 0 ]; then
  printf '\nNot as it should be (for lora_step.py that may be its goal alone):\n' >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
[ -n "$dry" ] || say "All of it is in $results"
