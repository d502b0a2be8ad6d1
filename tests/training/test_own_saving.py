"""Models that save themselves: nothing they wrote is removed, and their checkpoints hold what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_base
from torch import nn
from training_case import TinyClassifier, arguments, build, outcome, pad

from transformers import AutoModelForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments


class Own(TinyClassifier):
    """Saves itself as a pickle of its state, beside a configuration with PEFT's name."""

    def save_pretrained(self, folder: Any, **kwargs: Any) -> None:
        Path(folder, "adapter_config.json").write_text("{}")
        torch.save(self.state_dict(), Path(folder, "adapter_model.bin"))


class Parts(TinyClassifier):
    """Saves its parts under other names, as wrappers of an encoder do."""

    def save_pretrained(self, folder: Any, **kwargs: Any) -> None:
        from safetensors.torch import save_file

        for name, part in self.named_children():
            if part.state_dict():
                Path(folder, name).mkdir(exist_ok=True)
                save_file(part.state_dict(), Path(folder, name, "model.safetensors"))


def of(kind: type[nn.Module], folder: Path, **changes: Any) -> Trainer:
    plain = build(str(folder), **changes)
    torch.manual_seed(5)
    return Trainer(kind(), plain.args, pad, plain.train_dataset, plain.eval_dataset)


@pytest.mark.parametrize("kind", [Own, Parts])
def test_a_class_that_saves_itself_is_saved_resumed_and_best(kind: type[nn.Module], tmp_path: Path) -> None:
    trainer = of(kind, tmp_path, load_best_model_at_end=True, save_strategy="steps", learning_rate=0.3)
    trainer.train()
    folders = [tmp_path / f"checkpoint-{step}" for step in (5, 10, 15, 20)]
    written = {"adapter_config.json", "adapter_model.bin"} if kind is Own else {"embedding", "hidden", "classifier"}
    assert all(written <= {path.name for path in folder.iterdir()} for folder in folders)
    best = trainer.state.best_model_checkpoint
    assert best is not None
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.state.best_metric, abs=1e-7)
    trainer.save_model(str(tmp_path / "saved"))
    assert written <= {path.name for path in (tmp_path / "saved").iterdir()}

    whole = of(kind, tmp_path / "whole", learning_rate=0.3)
    whole.train()
    resumed = of(kind, tmp_path / "whole", learning_rate=0.3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-10"))
    torch.testing.assert_close(outcome(resumed), outcome(whole), rtol=0, atol=0)


class Nothing(TinyClassifier):
    def save_pretrained(self, folder: Any, **kwargs: Any) -> None:
        Path(folder, "config.json").write_text("{}")


def test_a_checkpoint_without_what_was_trained_is_not_sealed(tmp_path: Path) -> None:
    class Forgets(Trainer):
        def save_model(self, output_dir=None, _internal_call=False):  # type: ignore[no-untyped-def]
            Path(output_dir, "notes.json").write_text("{}")

    class SavesTheHead(Trainer):
        def save_model(self, output_dir=None, _internal_call=False):  # type: ignore[no-untyped-def]
            from safetensors.torch import save_file

            save_file(self.model.classifier.state_dict(), Path(output_dir, "head.safetensors"))

    for kind, said in (
        (Forgets, "wrote no weights into its checkpoint, only notes.json"),
        (SavesTheHead, "51 values"),
    ):
        plain = build(str(tmp_path), max_steps=2, save_steps=2)
        trainer = kind(plain.model, plain.args, pad, plain.train_dataset, plain.eval_dataset)
        with pytest.raises(ValueError, match=said):
            trainer.train()
        assert not list(tmp_path.glob("*checkpoint*"))
    of(Nothing, tmp_path, max_steps=2, save_steps=2).train()
    assert (tmp_path / "checkpoint-2" / "module_state.safetensors").is_file(), (
        "the Trainer holds what the class forgets"
    )


# -- what an earlier save left -------------------------------------------------------------------------------------


def classifier(folder: Path, **changes: Any) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(write_base(folder), **changes)


def saver(model: nn.Module, folder: Path) -> Trainer:
    args = TrainingArguments(str(folder), report_to="none", disable_tqdm=True, no_cuda=True)
    return Trainer(model, args)


def test_only_what_a_save_makes_obsolete_goes(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "out"
    whole, adapted = classifier(base), classifier(base, apply_lora=True, lora_r=2, lora_alpha=4)
    saver(whole, folder).save_model()
    (folder / "notes.txt").write_text("mine")
    assert (folder / "model.safetensors").is_file()
    saver(adapted, folder).save_model()
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "notes.txt"} <= names
    assert not {"config.json", "model.safetensors"} & names
    saver(whole, folder).save_model()
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "notes.txt"} <= names
    assert not {"adapter_config.json", "adapter_model.safetensors", "lora_metadata.json"} & names


def test_a_module_with_a_lora_model_s_configuration_is_not_taken_for_one(tmp_path: Path) -> None:
    inner = classifier(tmp_path / "base", apply_lora=True, lora_r=2, lora_alpha=4)

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config

        def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            return self.inner(input_ids=input_ids, labels=labels)

        def save_pretrained(self, folder: Any, **kwargs: Any) -> None:
            self.inner.save_adapter(folder)
            Path(folder, "wrapper.json").write_text(json.dumps({"kind": "mine"}))

    rows = [{"input_ids": [0, 5 + number, 6, 2], "labels": number % 2} for number in range(8)]
    args = arguments(tmp_path / "out", max_steps=2, save_strategy="steps", save_steps=2, learning_rate=0.1)
    trainer = Trainer(Wrapper(), args, train_dataset=rows)
    trainer.train()
    written = {path.name for path in (tmp_path / "out" / "checkpoint-2").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "wrapper.json", "module_state.safetensors"} <= written
