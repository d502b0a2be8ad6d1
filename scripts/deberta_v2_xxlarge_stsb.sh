#!/usr/bin/env bash
# DeBERTa-V2-XXL with LoRA on STS-B, starting from the MNLI adapter.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path microsoft/deberta-v2-xxlarge --task_name stsb
  --start_from deberta_v2_xxlarge_mnli # what that launcher wrote, or else the published deberta_v2_xxlarge_lora_mnli.bin
  --global_batch_size 32 --per_device_train_batch_size 4 # it had 8 GPUs
  --apply_lora --lora_r 16 --lora_alpha 32
  --learning_rate 2e-4 --num_train_epochs 10 --warmup_steps 100 --weight_decay 0.1 --cls_dropout 0.2
  --max_seq_length 128
  --evaluation_strategy steps --eval_steps 50 --save_strategy steps --save_steps 50
  --fp16 --use_deterministic_algorithms --seed 0
)
PAPER=(--warmup_ratio 0.1 --lora_r 8 --lora_alpha 8) # where the paper's table has others

launch "$@"
