#!/usr/bin/env bash
# RoBERTa-base with LoRA on all tasks of GLUE and on SQuAD, each from the model itself and all with the same values, and a
# table of them: the run of the article "Implementing LoRA from Scratch".
#
# The article trains 0.34 % of the values, an adapter of 1.7 MB without the head. LoRA of rank 8 on query and value is less
# (294,912 values); with all biases and LayerNorms of the encoder it is 416,256 values, 0.33 %, 1.67 MB. No alpha is named; 8
# makes the factor of the updates 1.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

TASKS="${TASKS:-cola mrpc rte stsb sst2 qnli qqp mnli squad}" # small ones first
PAPER=(none)                                                  # the LoRA paper's table has other values

case " $* " in
*" --output_dir"*) fail "the tasks need a folder each; set OUTPUT_DIR in place of --output_dir" ;;
*" --task_name"*) fail "set TASKS, such as TASKS='rte squad', in place of --task_name" ;;
*" --help "* | *" -h "*) TASKS="${TASKS%% *}" ;; # once is enough
esac

# run TASK FLAGS...: train on one task.
run() {
  local task="$1"
  shift
  SCRIPT=(
    --model_name_or_path roberta-base --task_name "$task"
    --global_batch_size 16 --per_device_train_batch_size 16
    --apply_lora --lora_r 8 --lora_alpha 8 --lora_bias all --lora_modules_to_save LayerNorm
    --learning_rate 5e-4 --num_train_epochs 6 --warmup_ratio 0.33333333 # two epochs
    --evaluation_strategy epoch --save_strategy epoch
    --seed 0
  )
  [ "$task" = squad ] || SCRIPT+=(--max_seq_length 128)
  launch_as "lora_from_scratch_$task" "$@"
}

find_environment
# What a task lacks is said before the first of them, which may take hours, is begun.
for task in $TASKS; do
  DRY_RUN=1 run "$task" "$@" >/dev/null
done
code=0
for task in $TASKS; do
  run "$task" "$@" || {
    code=$?
    break
  }
done
case "${DRY_RUN:-0} $* " in
"0 "*" --help "* | "0 -h"* | "0 --help"* | 1*) ;;
*) "$LORA_PYTHON" "$ROOT/scripts/tasks_table.py" "${OUTPUT_DIR:-$ROOT/output}"/lora_from_scratch_* || [ "$code" -ne 0 ] || code=2 ;;
esac
exit "$code"
