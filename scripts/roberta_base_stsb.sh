#!/usr/bin/env bash
# RoBERTa-base with LoRA on STS-B, starting from the MNLI adapter.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path roberta-base --task_name stsb
  --start_from roberta_base_mnli # what that launcher wrote, or else the published roberta_base_lora_mnli.bin
  --global_batch_size 128 --per_device_train_batch_size 16 # it had 8 GPUs
  --apply_lora --lora_r 8 --lora_alpha 16
  --learning_rate 4e-4 --num_train_epochs 40 --warmup_ratio 0.06 --weight_decay 0.1
  --max_seq_length 512
  --evaluation_strategy epoch --save_strategy epoch
  --seed 0
)
PAPER=(--lora_alpha 8) # where the paper's table has others

launch "$@"
