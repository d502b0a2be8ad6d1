#!/usr/bin/env bash
# RoBERTa-large with LoRA on MRPC, starting from the MNLI adapter.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path roberta-large --task_name mrpc
  --start_from roberta_large_mnli # what that launcher wrote, or else the published roberta_large_lora_mnli.bin
  --global_batch_size 32 --per_device_train_batch_size 4 # it had 8 GPUs
  --apply_lora --lora_r 8 --lora_alpha 16
  --learning_rate 3e-4 --num_train_epochs 20 --warmup_ratio 0.06 --weight_decay 0.1
  --max_seq_length 512
  --evaluation_strategy epoch --save_strategy epoch
  --seed 0
)
PAPER=() # the paper's table has the same

launch "$@"
