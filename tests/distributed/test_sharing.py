"""Every way of sharing the work trains like one process, and goes on from what any other has saved."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_case import read, run, write_base
from safetensors.torch import load_file
from torch import Tensor

pytestmark = pytest.mark.slow

Start = Callable[..., None]
DEEPSPEED = importlib.util.find_spec("deepspeed") is not None
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# No parameter is small enough to be kept whole by ZeRO-3, as most of these would be.
ZERO3: dict[str, Any] = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}
WAYS: dict[str, dict[str, Any]] = {"plain": {}, "full_shard": {"fsdp": "full_shard"}}
if DEEPSPEED:
    WAYS["zero2"] = {"deepspeed": str(SCRIPTS / "ds_config.json")}
    WAYS["zero3"] = {"deepspeed": ZERO3}
MODELS: dict[str, dict[str, Any]] = {"roberta-lora": {"lora": True}, "deberta-full": {"lora": False}}
CASES = [(way, model) for way in WAYS for model in MODELS]
RESUMED_FROM = dict(zip(WAYS, [*list(WAYS)[1:], "plain"], strict=True))  # each goes on from another one's checkpoint


def _base(folder: Path, model: str) -> str:
    return str(write_base(folder, model.partition("-")[0]))


@pytest.fixture(scope="module")
def folder(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train every case in two processes, once from the start and once from another way's checkpoint."""
    made = tmp_path_factory.mktemp("sharing")
    fresh, resumed = [], []
    for way, model in CASES:
        settings = {"base": _base(made, model), **MODELS[model], **WAYS[way], "gradient_accumulation_steps": 1}
        name = f"{way}-{model}"
        if way == "plain":
            settings["count_bytes"] = True
        fresh.append({**settings, "output_dir": str(made / name), "result": str(made / "fresh" / name)})
        start_at = str(made / f"{RESUMED_FROM[way]}-{model}" / "checkpoint-8")
        settings["save_strategy"] = "no"
        resumed.append(
            {
                **settings,
                "output_dir": str(made / "o" / name),
                "result": str(made / "resumed" / name),
                "resume": start_at,
            }
        )
    half = [
        {
            **{"base": _base(made, "roberta"), "bf16": True, "max_steps": 3, "save_steps": 3, **WAYS[way]},
            **{"output_dir": str(made / "bf16" / way), "result": str(made / "bf16" / f"result-{way}")},
            "gradient_accumulation_steps": 1,
        }
        for way in WAYS
        if way != "plain"
    ]
    start(made, [*fresh, *resumed, *half], processes=2)
    return made


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The same trainings in one process."""
    return {model: run(_base(folder, model), str(folder / "alone" / model), **MODELS[model]) for model in MODELS}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], history_from: int = 0) -> None:
    assert {"sent", "announced"} | found.keys() == {"sent", "announced"} | expected.keys()
    for name, value in expected.items():
        part = slice(history_from if name == "history" else 0, None) if value.dim() else ...
        torch.testing.assert_close(
            found[name][part], value[part], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("way", "model"), CASES)
def test_two_processes_equal_one(way: str, model: str, folder: Path, alone: dict[str, dict[str, Tensor]]) -> None:
    assert_equal(read(folder / "fresh" / f"{way}-{model}"), alone[model])


@pytest.mark.parametrize(("way", "model"), CASES)
def test_each_goes_on_from_another_s_checkpoint(
    way: str, model: str, folder: Path, alone: dict[str, dict[str, Tensor]]
) -> None:
    assert_equal(read(folder / "resumed" / f"{way}-{model}"), alone[model], history_from=8)


@pytest.mark.parametrize("way", WAYS)
def test_one_process_goes_on_from_what_two_saved(
    way: str, folder: Path, alone: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    for model, settings in MODELS.items():
        checkpoint = folder / f"{way}-{model}" / "checkpoint-8"
        found = run(_base(folder, model), str(tmp_path / model), resume=str(checkpoint), **settings)
        assert_equal(found, alone[model], history_from=8)


@pytest.mark.parametrize("way", WAYS)
def test_saved_is_what_one_process_saves(way: str, folder: Path, alone: dict[str, dict[str, Tensor]]) -> None:
    for model, file in (("roberta-lora", "adapter_model.safetensors"), ("deberta-full", "model.safetensors")):
        for place in (".", "checkpoint-8"):
            ours, one = (load_file(folder / name / place / file) for name in (f"{way}-{model}", f"alone/{model}"))
            assert ours.keys() == one.keys()
            for name, value in one.items():
                torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-5)
        files = {path.name for path in (folder / f"{way}-{model}").iterdir()}
        assert files == {path.name for path in (folder / "alone" / model).iterdir()}
        config = folder / f"{way}-deberta-full" / "config.json"
        assert '"DebertaV2ForSequenceClassification"' in config.read_text(), "not FSDP's or DeepSpeed's class"


def test_lora_sends_the_trained_gradients_and_nothing_else(folder: Path) -> None:
    for model in MODELS:
        found = read(folder / "fresh" / f"plain-{model}")
        steps = 12
        trained = sum(v.numel() * 4 for n, v in found.items() if n.startswith("optimizer.") and n.endswith("exp_avg"))
        assert found["announced"] == trained
        assert found["sent"] == trained * steps
    lora, full = (read(folder / "fresh" / f"plain-{model}")["sent"] for model in MODELS)
    assert lora < full / 4


def test_three_processes_whose_shares_are_uneven(start: Start, tmp_path: Path) -> None:
    settings = {
        "base": _base(tmp_path, "deberta"),
        "per_device_train_batch_size": 1,
        "gradient_checkpointing": True,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_steps": 4,
        "load_best_model_at_end": True,
        "max_steps": 8,
    }
    ways = [way for way in WAYS if way != "plain"]
    runs = [
        {**settings, **WAYS[way], "output_dir": str(tmp_path / way), "result": str(tmp_path / f"r-{way}")}
        for way in ways
    ]
    start(tmp_path, runs, processes=3)
    one = run(**{**settings, "per_device_train_batch_size": 3, "output_dir": str(tmp_path / "alone")})
    for way in ways:
        assert_equal(read(tmp_path / f"r-{way}"), one)


@pytest.mark.skipif(not DEEPSPEED, reason="needs deepspeed: pip install -e '.[deepspeed]'")
def test_one_process_under_deepspeed_as_accelerate_launch_asks_for_it(
    folder: Path, alone: dict[str, dict[str, Tensor]], start: Start, tmp_path: Path
) -> None:
    run_ = {"base": _base(folder, "roberta"), "output_dir": str(tmp_path / "o"), "result": str(tmp_path / "r")}
    variables = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "no"}
    variables["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(SCRIPTS / "ds_config.json")
    start(tmp_path, [{**run_, "lora": True}], processes=1, **variables)
    assert_equal(read(tmp_path / "r"), alone["roberta-lora"])


@pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])
def test_in_bf16_the_masters_stay_fp32(way: str, folder: Path, tmp_path: Path) -> None:
    saved = load_file(folder / "bf16" / way / "checkpoint-3" / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    assert any((value != value.bfloat16()).any() for value in saved.values()), (
        "bf16 values would be of no use to resume"
    )
    fp32 = run(_base(folder, "roberta"), str(tmp_path / "fp32"), max_steps=3)
    losses = read(folder / "bf16" / f"result-{way}")["history"][:, 1]
    torch.testing.assert_close(losses, fp32["history"][:, 1], atol=0.05, rtol=0)
    assert not torch.equal(losses, fp32["history"][:, 1])
