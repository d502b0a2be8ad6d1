"""The Trainer with this package's own models: a LoRA run saves, resumes and computes as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_case import examples, pad

from transformers import (
    AutoModelForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    Trainer,
    TrainingArguments,
)
from transformers.adapters.folder import load_adapter_weights

TINY: dict[str, Any] = {
    "vocab_size": 43,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
    "num_labels": 3,
    "hidden_dropout_prob": 0.1,
}


def base(folder: Path) -> Path:
    """Write a base checkpoint without a head, once."""
    if not (folder / "base").exists():
        torch.manual_seed(3)
        model = RobertaForSequenceClassification(RobertaConfig(**TINY))
        model.roberta.save_pretrained(folder / "base")
    return folder / "base"


def build(
    folder: Path, output: str, *, lora: bool = True, options: dict[str, Any] | None = None, **changes: Any
) -> Trainer:
    torch.manual_seed(4)
    settings = options or ({"lora_r": 2, "lora_alpha": 4, "apply_lora": True} if lora else {})
    model = RobertaForSequenceClassification.from_pretrained(base(folder), num_labels=3, **settings)
    args = TrainingArguments(
        str(folder / output),
        **{
            "report_to": "none",
            "disable_tqdm": True,
            "no_cuda": True,
            "max_steps": 8,
            "save_steps": 4,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 5,
            "logging_steps": 1,
            **changes,
        },
    )
    assert isinstance(model, RobertaForSequenceClassification)
    return Trainer(model, args, pad, examples(30), examples(7))


@pytest.mark.parametrize(
    "precision", [{}, {"bf16": True}, {"gradient_checkpointing": True}], ids=["fp32", "bf16", "recompute"]
)
def test_a_lora_run_checkpoints_the_adapter_only_and_resumes_exactly(
    precision: dict[str, bool], tmp_path: Path
) -> None:
    straight = build(tmp_path, "straight", **precision)
    frozen = {n: p.clone() for n, p in straight.model.named_parameters() if not p.requires_grad}
    straight.train()
    files = {path.name for path in (tmp_path / "straight" / "checkpoint-4").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "lora_metadata.json", "training_args.json"} <= files
    assert not files & {"model.safetensors", "pytorch_model.bin"}
    metadata = json.loads((tmp_path / "straight" / "checkpoint-4" / "lora_metadata.json").read_text())
    assert "0.01" in json.dumps(metadata)  # the training arguments

    resumed = build(tmp_path, "resumed", **precision)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-4"))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (straight, resumed)]
    assert losses[0] == losses[1]
    for name, parameter in straight.model.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name])


OPTIONS: dict[str, dict[str, Any]] = {
    "pissa": {"lora_init": "pissa"},
    "olora": {"lora_init": "olora", "lora_target_modules": "all-linear"},
    "orthogonal": {"lora_init": "orthogonal"},
    "lora+": {"lora_plus_lr_ratio": 8.0, "lora_target_modules": ["query", "word_embeddings"]},
    "dora": {"lora_use_dora": True, "lora_dropout": 0.2},
    "beside": {"lora_bias": "lora_only", "lora_modules_to_save": ["LayerNorm"], "lora_use_rslora": True},
    "patterns": {"lora_rank_pattern": {"layer.1.*query": 4}, "lora_alpha_pattern": {"value": 2}},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_resumes_exactly(option: str, tmp_path: Path) -> None:
    fields = {**OPTIONS[option], "lora_r": 2, "lora_alpha": 4, "apply_lora": True}
    straight = build(tmp_path, "straight", options=fields)
    straight.train()
    resumed = build(tmp_path, "resumed", options=fields)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-4"))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for trainer, name in ((straight, "one"), (resumed, "two")):
        trainer.save_model(str(tmp_path / name))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    before = straight.predict(examples(7)).predictions
    loaded = RobertaForSequenceClassification.from_pretrained(tmp_path / "one")
    assert isinstance(loaded, RobertaForSequenceClassification)
    assert abs(Trainer(loaded, straight.args, pad).predict(examples(7)).predictions - before).max() <= 1e-5


def test_in_bf16_the_frozen_base_is_stored_in_bf16_and_the_trained_part_in_fp32(tmp_path: Path) -> None:
    trainer = build(tmp_path, "out", bf16=True)
    trainer.train()
    dtypes = {(p.requires_grad, p.dtype) for p in trainer.model.parameters()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}
    full = build(tmp_path, "full", lora=False, bf16=True)
    full.train()
    assert {p.dtype for p in full.model.parameters()} == {torch.float32}
    fp32 = build(tmp_path, "fp32")
    fp32.train()
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (fp32, trainer)]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
    assert losses[1] != losses[0]


def test_a_saved_adapter_comes_back(tmp_path: Path) -> None:
    trainer = build(tmp_path, "out")
    trainer.train()
    trainer.save_model()
    before = trainer.predict(examples(7)).predictions
    loaded = RobertaForSequenceClassification.from_pretrained(tmp_path / "out")
    assert isinstance(loaded, RobertaForSequenceClassification)
    again = Trainer(loaded, trainer.args, pad)
    assert (again.predict(examples(7)).predictions == before).all()
    fresh = build(tmp_path, "fresh")
    load_adapter_weights(fresh.model, tmp_path / "out")
    assert (fresh.predict(examples(7)).predictions == before).all()


def test_full_fine_tuning_saves_the_whole_model_and_resumes_exactly(tmp_path: Path) -> None:
    straight = build(tmp_path, "straight", lora=False)
    straight.train()
    files = {path.name for path in (tmp_path / "straight" / "checkpoint-4").iterdir()}
    assert {"model.safetensors", "config.json"} <= files
    resumed = build(tmp_path, "resumed", lora=False)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-4"))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_the_best_adapter_is_loaded_at_the_end(tmp_path: Path) -> None:
    settings = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 0.3}
    trainer = build(tmp_path, "out", **settings, save_total_limit=1)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.state.best_metric or 0, abs=1e-6)


def test_a_model_s_own_folder_as_4_4_2_s_script_passes_it(tmp_path: Path) -> None:
    trainer = build(tmp_path, "out", max_steps=1, learning_rate=0.0)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    assert trainer.train(resume_from_checkpoint=str(base(tmp_path))).global_step == 1
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("earlier", ["whole", "adapter"])
def test_a_save_that_fails_leaves_the_earlier_model_in_the_folder(
    earlier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(tmp_path, "out", lora=earlier == "adapter")
    first.save_model()
    before = first.predict(examples(7)).predictions
    second = build(tmp_path, "out", lora=earlier == "whole")
    with monkeypatch.context() as broken:
        if earlier == "whole":
            parameter = next(p for n, p in second.model.named_parameters() if "lora_B" in n)
            parameter.data[0, 0] = float("nan")
        else:
            broken.setattr(type(second.model), "save_pretrained", _disk_full)
        with pytest.raises((ValueError, OSError), match=r"not finite|No space"):
            second.save_model()
    loaded = RobertaForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=3)
    assert (Trainer(loaded, first.args, pad).predict(examples(7)).predictions == before).all()

    if earlier == "whole":
        parameter.data[0, 0] = 0.5
    second.save_model()  # and one that does not fail takes its place
    after = second.predict(examples(7)).predictions
    loaded = RobertaForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=3)
    assert (Trainer(loaded, first.args, pad).predict(examples(7)).predictions == after).all()
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert ("config.json" in files, "adapter_config.json" in files) == (earlier == "adapter", earlier == "whole")


def _disk_full(*args: Any, **kwargs: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_forward_pass_without_a_label_does_not_count(tmp_path: Path) -> None:
    """In masked language modelling a short text may have no word masked."""

    def collate(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        ids = torch.tensor([row["input_ids"] for row in features])
        return {"input_ids": ids, "labels": torch.tensor([row["labels"] for row in features])}

    words = [{"input_ids": [5, 6, 7, 8], "labels": [-100] * 4}] + [
        {"input_ids": [9, number, 11, 12], "labels": [-100, number, -100, 12]} for number in (13, 14, 15)
    ]
    trained = []
    for data, batch_size, accumulation in ((words, 1, 4), (words, 4, 1), (words[1:], 3, 1)):
        torch.manual_seed(0)
        model = RobertaForMaskedLM(
            RobertaConfig(**{**TINY, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0})
        )
        args = TrainingArguments(
            str(tmp_path / "out"),
            report_to="none",
            disable_tqdm=True,
            no_cuda=True,
            max_steps=1,
            optim="sgd",
            learning_rate=0.1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            save_strategy="no",
        )
        trainer = Trainer(model, args, collate, data)
        trainer.train()
        trained.append(model.state_dict())
    for name, value in trained[0].items():
        for other in trained[1:]:
            torch.testing.assert_close(value, other[name], atol=1e-6, rtol=1e-5)


def test_the_log_of_a_good_adapter_says_nothing_of_new_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        folder = base(tmp_path)
        capsys.readouterr()
        model = AutoModelForSequenceClassification.from_pretrained(folder, apply_lora=True, lora_r=2, lora_alpha=4)
        said = capsys.readouterr().err
        assert "new until they are trained or loaded" in said, "of a base alone it is true"
        assert "Adapters at their starting values" in said
        model.save_adapter(tmp_path / "adapter")
        for load in (AutoModelForSequenceClassification.from_pretrained, model.__class__.from_pretrained):
            load(tmp_path / "adapter")
            said = capsys.readouterr().err
            assert "new" not in said
            assert "starting values" not in said
        model.save_pretrained(tmp_path / "whole")
        AutoModelForSequenceClassification.from_pretrained(folder, apply_lora=True, lora_r=2, lora_alpha=4)
        assert "starting values" in capsys.readouterr().err, "the silence ends with the loading"
    finally:
        logging.set_verbosity(level)
