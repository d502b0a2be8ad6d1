"""The flags of a base of few bits: what they become, what is refused, and a run with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import run_ner
from common.arguments import ModelArguments, check_model_arguments
from common.quantization_flags import quantization_of, quantization_words
from transformers import BitsAndBytesConfig, HfArgumentParser, TrainingArguments

LORA = ["--apply_lora", "--lora_r", "8", "--lora_alpha", "16"]
FOUR = ["--load_in_4bit"]
SENTENCES = "the O\nfilm B-WORK\nwas O\n\nanna B-PER\nbad I-PER\nwas O\n\n" * 4


def parse(*words: str) -> tuple[ModelArguments, TrainingArguments]:
    start = ["--model_name_or_path", "x", "--output_dir", "y", "--do_train"]
    model_args, args = HfArgumentParser([ModelArguments, TrainingArguments]).parse_args_into_dataclasses(
        [*start, *words]
    )
    return model_args, args


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["--load_in_8bit"], BitsAndBytesConfig(load_in_8bit=True, bnb_4bit_quant_type="nf4")),
        (FOUR, BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")),
        (
            [*FOUR, "--bf16"],
            BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16),
        ),
        (
            [*FOUR, "--bf16", "--bnb_4bit_quant_type", "fp4", "--bnb_4bit_compute_dtype", "float32"],
            BitsAndBytesConfig(load_in_4bit=True),
        ),
    ],
)
def test_flags_become_a_configuration(words: list[str], expected: BitsAndBytesConfig | None) -> None:
    parsed: tuple[ModelArguments, TrainingArguments] = parse(*LORA, *words)
    check_model_arguments(*parsed)
    found = quantization_of(*parsed)
    assert found == expected
    again = parse(*LORA, *quantization_words(found))  # as a printed command has them
    assert quantization_of(*again) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*LORA, "--load_in_8bit", "--load_in_4bit"], "Choose one"),
        ([*LORA, "--bnb_4bit_quant_type", "nf4"], "without --load_in_4bit"),
        ([*LORA, "--load_in_8bit", "--bnb_4bit_use_double_quant"], "without --load_in_4bit"),
        (["--load_in_4bit"], "cannot be trained: add --apply_lora"),
    ],
)
def test_flags_that_mean_nothing_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_model_arguments(*parse(*words))


def test_a_run_over_four_bits_says_so_and_goes_on_only_over_them(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bitsandbytes")
    (tmp_path / "train.txt").write_text(SENTENCES)
    words = ["--model_name_or_path", tiny_checkpoint, *LORA, "--train_file", tmp_path / "train.txt", "--do_train"]
    words += ["--per_device_train_batch_size", "4", "--report_to", "none", "--disable_tqdm", "true", "--no_cuda"]
    words += [
        "--output_dir",
        tmp_path / "out",
        "--optim",
        "adamw_8bit",
        "--save_steps",
        "1",
        "--num_train_epochs",
        "2",
    ]

    def run(*given: object) -> int:
        try:
            return run_ner.main([str(word) for word in given])
        except SystemExit as stop:
            return int(stop.code or 0)

    assert run(*words, *FOUR, "--bnb_4bit_use_double_quant") == 0
    assert "4 bits (NF4, double quantisation)" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "run_record.json").read_text())
    assert record["quantization"]["bnb_4bit_quant_type"] == "nf4"
    assert 0 < record["quantization"]["mean_difference"] < record["quantization"]["largest_difference"]
    told = json.loads((tmp_path / "out" / "lora_metadata.json").read_text())
    assert told["quantization"]["bnb_4bit_use_double_quant"] is True
    for other in ([], ["--load_in_8bit"], FOUR):
        assert run(*words, *other) == 2
        assert "another run: --" in capsys.readouterr().err
