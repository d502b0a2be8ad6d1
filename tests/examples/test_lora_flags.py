"""The flags of LoRA's options are the configuration's fields, and say so where they mean nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.arguments import ModelArguments, check_model_arguments, method_fields
from common.lora_flags import LoraFlags
from transformers import HfArgumentParser, RobertaConfig, TrainingArguments
from transformers.configuration.lora_options import LORA_OPTIONS

START = ["--model_name_or_path", "x", "--output_dir", "y", "--do_train"]
LORA = ["--apply_lora", "--lora_r", "8", "--lora_alpha", "16"]


def parse(*words: str) -> tuple[ModelArguments, TrainingArguments]:
    model_args, args = HfArgumentParser([ModelArguments, TrainingArguments]).parse_args_into_dataclasses(
        [*START, *words]
    )
    return model_args, args


def fields_of(*words: str) -> dict[str, Any]:
    model_args, args = parse(*LORA, *words)
    check_model_arguments(model_args, args)
    fields = method_fields(model_args, tokenizer=None)  # type: ignore[arg-type]  # which only masking reads
    RobertaConfig(**fields)
    return {name: value for name, value in fields.items() if name in LORA_OPTIONS}


def test_there_is_a_flag_for_every_option() -> None:
    assert {field.name for field in dataclasses.fields(LoraFlags)} == set(LORA_OPTIONS)
    assert fields_of() == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--lora_target_modules", "all-linear"], {"lora_target_modules": "all-linear"}),
        (["--lora_target_modules", "query", "output.dense"], {"lora_target_modules": ["query", "output.dense"]}),
        (["--lora_target_modules", "query"], {"lora_target_modules": ["query"]}),
        (["--lora_target_modules", r".*\.(query|key)"], {"lora_target_modules": r".*\.(query|key)"}),
        (["--lora_rank_pattern", '{"layer.11.*": 16}'], {"lora_rank_pattern": {"layer.11.*": 16}}),
        (["--lora_layers_to_transform", "0", "2"], {"lora_layers_to_transform": [0, 2]}),
        (["--lora_use_dora", "--lora_bias", "lora_only"], {"lora_use_dora": True, "lora_bias": "lora_only"}),
        (["--lora_plus_lr_ratio", "16"], {"lora_plus_lr_ratio": 16.0}),
    ],
)
def test_flags_become_fields(words: list[str], expected: dict[str, Any]) -> None:
    assert fields_of(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*LORA, "--lora_rank_pattern", "8"], "a JSON object was expected"),
        ([*LORA, "--lora_alpha_pattern", "{"], "is no JSON"),
        (["--lora_use_dora"], "without --apply_lora"),
    ],
)
def test_flags_that_mean_nothing_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_model_arguments(*parse(*words))
