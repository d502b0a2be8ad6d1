#!/usr/bin/env bash
# DeBERTa-V2-XXL with LoRA on QQP.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path microsoft/deberta-v2-xxlarge --task_name qqp
  --global_batch_size 64 --per_device_train_batch_size 8 # it had 8 GPUs
  --apply_lora --lora_r 16 --lora_alpha 32
  --learning_rate 1e-4 --num_train_epochs 11 --warmup_steps 10000 --weight_decay 0.01 --cls_dropout 0.2
  --max_seq_length 320
  --evaluation_strategy steps --eval_steps 500 --save_strategy steps --save_steps 500
  --fp16 --use_deterministic_algorithms --seed 0
)
PAPER=(--warmup_ratio 0.1 --lora_r 8 --lora_alpha 8) # where the paper's table has others

launch "$@"
