#!/usr/bin/env bash
# DeBERTa-V2-XXL with LoRA on MNLI, trained for consistency by R-Drop.
# The original ran cutoff's formula with no masking under this name; --consistency cutoff --masking_prob 0 does that.
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"

SCRIPT=( # the values of the original's launcher
  --model_name_or_path microsoft/deberta-v2-xxlarge --task_name mnli
  --global_batch_size 64 --per_device_train_batch_size 8 # it had 8 GPUs
  --apply_lora --lora_r 16 --lora_alpha 32 --consistency rdrop --reg_loss_wgt 1.0
  --learning_rate 1e-4 --num_train_epochs 5 --warmup_steps 1000 --weight_decay 0 --cls_dropout 0.15
  --max_seq_length 256
  --evaluation_strategy steps --eval_steps 500 --save_strategy steps --save_steps 500
  --fp16 --use_deterministic_algorithms --seed 42
)
PAPER=(none) # the paper's table of LoRA's settings does not have this run

launch "$@"
