"""What a training tells of itself in its model card, and what of it goes to the hub, when, and what never does."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub, connect, serve
from huggingface_hub import ModelCard
from test_lora_runs import base, build

from transformers import RobertaForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.utils.hub_upload import NotUploadedError
from transformers.utils.model_card import CARD_NAME

TOKEN = "hf_SeCrEtSeCrEtSeCrEtSeCrEt"
MODEL = {"adapter_model.safetensors", "adapter_config.json", "lora_metadata.json", "training_args.json", CARD_NAME}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(Hub()) as running:
        running.uploads.writers.add(TOKEN)
        connect(running, tmp_path / "home", monkeypatch)
        base(tmp_path)
        yield running


def accuracy(prediction: Any) -> dict[str, float]:
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean()), "nothing": float("nan")}


class StopsAtFour(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 4


def pushing(folder: Path, output: str, strategy: str, **changes: Any) -> Trainer:
    return build(folder, output, push_to_hub=True, hub_strategy=strategy, hub_token=TOKEN, **changes)


# -- cards -------------------------------------------------------------------------------------------------------


def test_a_card_tells_settings_and_results(tmp_path: Path) -> None:
    trainer = build(tmp_path, "out", max_steps=3, warmup_steps=1, seed=7)
    trainer.compute_metrics = accuracy
    trainer.train()
    trainer.save_model()
    assert ModelCard.load(tmp_path / "out" / CARD_NAME).data.eval_results is None, "they were not evaluated"
    found = trainer.evaluate()
    trainer.create_model_card(
        language="en",
        license="mit",
        tags="mine",
        model_name="My model",
        finetuned_from="owner/base",
        dataset_tags="nyu-mll/glue",
        dataset="GLUE MRPC",
        dataset_args="mrpc",
    )
    trainer.save_model()  # what was said is said again
    card = ModelCard.load(tmp_path / "out" / CARD_NAME)
    data = card.data
    assert (data.language, data.license, data.base_model, data.tags) == ("en", "mit", "owner/base", ["lora", "mine"])
    assert (data.datasets, data.metrics, data.library_name) == (["nyu-mll/glue"], ["accuracy"], "peft")
    assert {each.metric_type: each.metric_value for each in data.eval_results} == {
        "loss": found["eval_loss"],
        "accuracy": found["eval_accuracy"],
    }
    result = data.eval_results[0]
    assert (data.model_name, result.dataset_name, result.dataset_config) == ("My model", "GLUE MRPC", "mrpc")
    assert result.task_type == "text-classification"
    assert "# My model" in card.text
    assert "## License" not in card.text
    for row in (
        "learning rate | 0.01",
        "steps | 3 of 3",
        "global batch | 5",
        "seed | 7",
        "linear, 1 steps of warm-up",
    ):
        assert row in card.text
    assert "None is stated yet" not in card.text


def test_results_are_those_of_the_saved_weights(tmp_path: Path) -> None:
    watched = {"evaluation_strategy": "steps", "eval_steps": 2, "save_steps": 2, "load_best_model_at_end": True}
    trainer = build(tmp_path, "out", max_steps=6, learning_rate=0.01, greater_is_better=True, **watched)
    trainer.train()
    trainer.save_model()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    result = ModelCard.load(tmp_path / "out" / CARD_NAME).data.eval_results[0]
    assert result.metric_value == max(losses) != losses[-1]
    assert not list(tmp_path.glob(f"out/checkpoint-*/{CARD_NAME}")), "a checkpoint is for going on"


def test_any_module_has_a_card_when_it_is_asked_for(tmp_path: Path) -> None:
    from training_case import build as build_small

    trainer = build_small(str(tmp_path / "out"))
    trainer.save_model()
    assert not (tmp_path / "out" / CARD_NAME).exists()
    trainer.create_model_card(license="mit")
    assert ModelCard.load(tmp_path / "out" / CARD_NAME).data.license == "mit"


def test_signatures_are_upstreams() -> None:
    card = list(inspect.signature(Trainer.create_model_card).parameters)
    assert card[1:4] == ["language", "license", "tags"]
    assert card[4:] == ["model_name", "finetuned_from", "tasks", "dataset_tags", "dataset", "dataset_args"]
    push = inspect.signature(Trainer.push_to_hub).parameters
    assert list(push)[1:] == ["commit_message", "blocking", "token", "revision", "private", "kwargs"]
    assert (push["commit_message"].default, push["blocking"].default) == ("End of training", True)
    assert list(inspect.signature(Trainer.init_hf_repo).parameters)[1:] == ["token", "private"]
    args = TrainingArguments("out", hub_token=TOKEN)
    assert (args.push_to_hub, args.hub_model_id, args.hub_strategy) == (False, None, "every_save")
    assert (args.hub_private_repo, args.hub_always_push, args.hub_revision) == (None, False, None)
    assert TOKEN not in repr(args)
    with pytest.raises(ValueError, match="all_checkpoints"):
        TrainingArguments("out", hub_strategy="sometimes")


# -- uploads -----------------------------------------------------------------------------------------------------


STRATEGIES: dict[str, set[str]] = {
    "end": set(),
    "every_save": set(),
    "checkpoint": {"last-checkpoint"},
    "all_checkpoints": {"checkpoint-4", "checkpoint-8"},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_uploads_what_it_says(strategy: str, hub: Hub, tmp_path: Path) -> None:
    trainer = pushing(tmp_path, "out", strategy, hub_private_repo=True, hub_always_push=True, save_total_limit=1)
    assert trainer.hub_model_id == "somebody/out"
    assert hub.private == {"somebody/out"}, "made before anything is computed"
    trainer.train()
    sent = hub.folder("somebody/out")
    assert {path for path in sent if "/" not in path} == (set() if strategy == "end" else MODEL)
    assert {path.partition("/")[0] for path in sent if "/" in path} == STRATEGIES[strategy]
    assert not list(tmp_path.glob("out/.*")), "nothing is left over"
    (tmp_path / "out" / "nonfinite_steps.jsonl").write_text("{}")
    (tmp_path / "out" / "predictions.txt").write_text("a text of the data")
    said = trainer.push_to_hub(license="mit")
    assert said is not None
    assert said.startswith(f"{hub.url}/somebody/out/commit/")
    assert {path for path in hub.folder("somebody/out") if "/" not in path} == MODEL
    assert 'name = "somebody/out"' in hub.files["somebody/out", "main", CARD_NAME].decode()
    again = RobertaForSequenceClassification.from_pretrained("somebody/out", token=TOKEN)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert not any(TOKEN.encode() in body for body in hub.bodies)
    told = {token for _, path, token in hub.requests if "somebody/out" in path or "create" in path}
    assert told == {f"Bearer {TOKEN}"}


def test_a_checkpoint_of_the_hub_is_gone_on_from(hub: Hub, tmp_path: Path) -> None:
    straight = build(tmp_path, "straight")
    straight.train()
    stopped = pushing(tmp_path, "out", "checkpoint")
    stopped.add_callback(StopsAtFour)
    stopped.train()
    for path, content in hub.folder("somebody/out").items():
        (tmp_path / "there" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / path).write_bytes(content)
    resumed = build(tmp_path, "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "there" / "last-checkpoint"))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_hub_that_fails_later_costs_no_training(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = pushing(tmp_path, "out", "every_save", hub_always_push=True)
    hub.uploads.dies_after = 0
    trainer.train()
    trainer.save_model()
    assert trainer.state.global_step == 8
    failures = [
        text for text in caplog.messages if re.search(r"^Uploading to 'somebody/out' failed: .*going down", text)
    ]
    assert len(failures) == 3, "two checkpoints and the end"
    assert all("\n" not in text for text in failures)
    with pytest.raises(NotUploadedError, match="going down"):
        trainer.push_to_hub()
    assert (tmp_path / "out" / CARD_NAME).is_file()
    hub.uploads.dies_after = None
    trainer.push_to_hub(blocking=False, commit_message="again", revision="late")
    trainer._end_upload()
    assert set(hub.folder("somebody/out", "late")) == MODEL
    assert [each["summary"] for each in hub.uploads.commits] == ["again"]


def test_a_hub_that_refuses_is_told_of_before_training(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotUploadedError, match="may not write there"):
        build(tmp_path, "out", push_to_hub=True, hub_token="wrong-token", hub_model_id="other/out")
    assert not (tmp_path / "out").exists()


def test_a_token_is_in_nothing_that_is_written(hub: Hub, tmp_path: Path) -> None:
    trainer = pushing(tmp_path, "out", "all_checkpoints", max_steps=4)
    trainer.train()
    trainer.save_model()
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    assert json.loads((tmp_path / "out" / "training_args.json").read_text())["hub_token"] == "<HUB_TOKEN>"
