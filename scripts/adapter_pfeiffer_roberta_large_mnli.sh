#!/usr/bin/env bash
# RoBERTa-large with Pfeiffer's bottleneck adapters on MNLI.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path roberta-large --task_name mnli
  --global_batch_size 256 --per_device_train_batch_size 32 # it had 8 GPUs
  --apply_adapter --adapter_type pfeiffer --adapter_size 16
  --learning_rate 3e-4 --num_train_epochs 5 --warmup_ratio 0.1
  --max_seq_length 128 --per_device_eval_batch_size 32
  --evaluation_strategy epoch --save_strategy epoch
  --seed 0
)
PAPER=(none) # the paper's table of LoRA's settings does not have this run

launch "$@"
