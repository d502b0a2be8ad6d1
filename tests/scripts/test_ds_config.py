"""The DeepSpeed configurations beside the launchers: the original's values, and no contradiction to the flags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from transformers import TrainingArguments

from .conftest import SCRIPTS

NAMES = ("ds_config.json", "ds_config_zero3.json")


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SCRIPTS / name).read_text())
    return content


def test_zero_2_is_the_originals() -> None:
    config = read("ds_config.json")
    assert config["fp16"]["initial_scale_power"] == 12
    assert config["zero_allow_untested_optimizer"] is True
    assert config["zero_optimization"] == {
        "stage": 2,
        "reduce_bucket_size": 5e7,
        "allgather_bucket_size": 1.25e9,
        "overlap_comm": True,
        "contiguous_gradients": True,
    }


def test_zero_3_shards_the_weights_and_saves_them_whole() -> None:
    zero = read("ds_config_zero3.json")["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["stage3_gather_16bit_weights_on_model_save"] is True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", [{}, {"bf16": True}])
def test_what_a_flag_decides_follows_the_flag(name: str, precision: dict[str, bool], tmp_path: Any) -> None:
    deepspeed_config = pytest.importorskip("transformers.training.deepspeed_config")
    pytest.importorskip("deepspeed")
    args = TrainingArguments(
        output_dir=str(tmp_path),
        deepspeed=str(SCRIPTS / name),
        per_device_train_batch_size=3,
        gradient_accumulation_steps=5,
        max_grad_norm=0.7,
        **precision,
    )
    config = deepspeed_config.fill_config(args, hidden_size=64)
    assert config["train_micro_batch_size_per_gpu"] == 3
    assert config["gradient_accumulation_steps"] == 5
    assert config["train_batch_size"] == 15
    assert config["gradient_clipping"] == 0.7
    assert config["bf16"]["enabled"] is bool(precision)
    assert config["fp16"]["enabled"] is False
    assert "auto" not in json.dumps(config)
