"""A DeepSpeed configuration beside the flags: filled in where it says auto, refused where it contradicts them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from transformers import TrainingArguments
from transformers.integrations import HfDeepSpeedConfig, deepspeed_config, unset_hf_deepspeed_config
from transformers.training.deepspeed_config import fill_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FLAGS: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 3,
    "max_grad_norm": 0.5,
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "max_steps": 100,
    "warmup_ratio": 0.06,
    "no_cuda": True,
}
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="needs deepspeed: pip install -e '.[deepspeed]'"
)


def arguments(config: dict[str, Any] | str, **changes: Any) -> TrainingArguments:
    if isinstance(config, dict):
        config = {"zero_optimization": {"stage": 2}, **config}
    return TrainingArguments("out", deepspeed=config, **{**FLAGS, **changes})


@needs_deepspeed
@pytest.mark.parametrize("name", ["ds_config.json", "ds_config_zero3.json"])
def test_auto_is_filled_in_from_the_flags(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    filled = fill_config(arguments(str(SCRIPTS / name), bf16=True), hidden_size=64)
    assert "auto" not in json.dumps(filled)
    assert filled["train_micro_batch_size_per_gpu"] == 4
    assert filled["gradient_accumulation_steps"] == 3
    assert filled["train_batch_size"] == 24
    assert filled["gradient_clipping"] == 0.5
    assert filled["bf16"]["enabled"] is True
    assert filled["fp16"] == {"enabled": False, "initial_scale_power": 12}
    if name == "ds_config_zero3.json":
        assert filled["zero_optimization"]["reduce_bucket_size"] == 64 * 64
        assert filled["zero_optimization"]["stage3_param_persistence_threshold"] == 640


@needs_deepspeed
def test_what_agrees_is_accepted() -> None:
    config = {
        "train_batch_size": 12,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": 3e-4, "betas": [0.9, 0.999], "eps": "auto", "weight_decay": 0.01},
        },
        "scheduler": {
            "type": "WarmupDecayLR",
            "params": {"warmup_max_lr": 3e-4, "warmup_num_steps": 6, "total_num_steps": 100, "warmup_min_lr": 0},
        },
    }
    filled = fill_config(arguments(config))
    assert "optimizer" not in filled
    assert "scheduler" not in filled


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_batch_size": 16}, r"train_batch_size = 16, but the global batch .* is 12"),
        (
            {"train_micro_batch_size_per_gpu": 8},
            "train_micro_batch_size_per_gpu = 8, but per_device_train_batch_size is 4",
        ),
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps = 1, but gradient_accumulation_steps is 3"),
        ({"gradient_clipping": 1.0}, "gradient_clipping = 1.0, but max_grad_norm is 0.5"),
        ({"bf16": {"enabled": True}}, "bf16.enabled = true, but bf16 is false"),
        ({"fp16": {"enabled": True}}, "fp16.enabled = true, but fp16 is false"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}}, "params.lr = 0.001, but learning_rate is 0.0003"),
        ({"optimizer": {"type": "OneBitAdam"}}, "OneBitAdam.*adamw_torch"),
        ({"optimizer": {"params": {"betas": [0.8, 0.999]}}}, r"betas = \[0.8, 0.999\], but adam_beta1"),
        ({"scheduler": {"type": "WarmupLR"}}, "WarmupLR.*lr_scheduler_type is 'linear'"),
        ({"scheduler": {"params": {"total_num_steps": 7}}}, "total_num_steps = 7, but max_steps is 100"),
        ({"scheduler": {"params": {"warmup_num_steps": 7}}}, "warmup_num_steps = 7, but the warm-up is 6"),
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage = 0; 1, 2 or 3"),
        ({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}}, "nvme"),
        ({"amp": {"enabled": True}}, "Apex"),
    ],
)
def test_contradictions_name_both_sides(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arguments(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"fsdp": "full_shard"}, "choose one of them"), ({"optim": "adafactor"}, "adamw_torch or sgd")],
)
def test_flags_that_do_not_go_with_deepspeed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arguments({}, **changes)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.json' cannot be read: No such file"):
        arguments(str(tmp_path / "missing.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        arguments(str(tmp_path / "broken.json"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object"):
        arguments(str(tmp_path / "list.json"))


@needs_deepspeed
def test_auto_without_a_flag_is_named() -> None:
    args = arguments({"zero_optimization": {"stage": 2, "allgather_bucket_size": "auto"}})
    with pytest.raises(ValueError, match=r'"auto" for zero_optimization\.allgather_bucket_size'):
        fill_config(args)


def test_the_configuration_that_accelerate_announces() -> None:
    assert deepspeed_config() is None
    kept = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    assert deepspeed_config() == {"zero_optimization": {"stage": 3}}
    assert kept.is_zero3()
    assert kept.get_value("zero_optimization.stage") == 3
    unset_hf_deepspeed_config()
    assert deepspeed_config() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fsdp": "some_shard"}, "full_shard or shard_grad_op"),
        ({"fsdp": "full_shard shard_grad_op"}, "full_shard or shard_grad_op"),
        ({"fsdp": "full_shard", "optim": "adafactor"}, "adafactor do not go together"),
        ({"ddp_timeout": 0}, "ddp_timeout is 0"),
    ],
)
def test_fsdp_and_the_timeout(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingArguments("out", **changes)
    assert TrainingArguments("out", fsdp=["full_shard", "auto_wrap"]).fsdp == "full_shard auto_wrap"  # as in 5.x


@needs_deepspeed
def test_accelerate_s_own_deepspeed_support_finds_our_names() -> None:
    from accelerate.utils import DeepSpeedPlugin

    plugin = DeepSpeedPlugin(hf_ds_config={"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 2})
    plugin.set_deepspeed_weakref()
    found = deepspeed_config()
    assert found is not None
    assert found["zero_optimization"]["stage"] == 3
    unset_hf_deepspeed_config()


@needs_deepspeed
def test_accelerate_launch_may_name_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(SCRIPTS / "ds_config.json"))
    assert TrainingArguments("out", **FLAGS).deepspeed == str(SCRIPTS / "ds_config.json")
    monkeypatch.delenv("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    with pytest.raises(ValueError, match="--deepspeed FILE"):
        TrainingArguments("out", **FLAGS)
