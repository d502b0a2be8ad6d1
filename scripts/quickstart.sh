#!/usr/bin/env bash
# From a fresh checkout to a trained adapter: makes .venv, fetches a small real encoder, trains it with LoRA.
#
#   bash scripts/quickstart.sh                  the demo: sentiment of 780 short opinions, about two minutes of training
#   bash scripts/quickstart.sh --flag value …   the same environment; the arguments go to run_glue.py as they are
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

project_environment demo
if [ "$#" -gt 0 ]; then
  exec "$VENV/bin/python" "$ROOT/examples/text-classification/run_glue.py" "$@"
fi
bash "$ROOT/scripts/minilm.sh"
say "Training"
demo="$ROOT/examples/text-classification/demo"
exec "$VENV/bin/python" "$ROOT/examples/text-classification/run_glue.py" \
  --model_name_or_path "${LORA_MINILM:-$ROOT/models/minilm-roberta}" \
  --train_file "$demo/train.csv" --validation_file "$demo/validation.csv" --test_file "$demo/test.csv" \
  --apply_lora --lora_r 8 --lora_alpha 16 \
  --do_train --do_eval --do_predict \
  --num_train_epochs 10 --learning_rate 1e-3 --warmup_ratio 0.06 \
  --per_device_train_batch_size 16 --per_device_eval_batch_size 64 --max_seq_length 128 \
  --evaluation_strategy epoch --save_strategy epoch --logging_steps 10 --save_total_limit 1 \
  --load_best_model_at_end --metric_for_best_model accuracy \
  --overwrite_output_dir --output_dir "${LORA_OUTPUT:-$ROOT/output/quickstart}"
