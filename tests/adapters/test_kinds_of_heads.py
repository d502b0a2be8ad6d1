"""Adapters of several kinds of heads on one encoder: loaded by name, switched, merged, saved, mixed in one batch."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import KINDS, batch, write_base
from tiny import same_tensors, shake, values

import transformers
from transformers import PreTrainedModel
from transformers.modeling_outputs import MixedOutput
from transformers.utils.generic import ModelOutput

FAMILIES = {"roberta": "roberta", "deberta": "deberta-base-positions", "deberta-adapted": "deberta-adapted-positions"}
# By adapter's name: the Auto class of its task, its rank and number of labels.
TASKS = {
    "sentiment": ("SequenceClassification", 2, 2),
    "topic": ("SequenceClassification", 4, 5),
    "names": ("TokenClassification", 3, 4),
    "places": ("TokenClassification", 2, 3),
    "answers": ("QuestionAnswering", 2, 2),
    "words": ("MaskedLM", 4, 2),
}
TASK_TYPES = {
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "QuestionAnswering": "QUESTION_ANS",
    "MaskedLM": None,
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return FAMILIES[request.param]


@pytest.fixture
def base(family: str, tmp_path: Path) -> Path:
    return write_base(KINDS[family], tmp_path / "base")


def auto(task: str) -> Any:
    return getattr(transformers, f"AutoModelFor{task}")


def output(model: PreTrainedModel, **more: Any) -> ModelOutput:
    model.eval()
    with torch.no_grad():
        result: ModelOutput = model(**batch(), **more)
    return result


@pytest.fixture
def alone(family: str, base: Path, tmp_path: Path) -> dict[str, ModelOutput]:
    """What each adapter gives in a model of its own; its folder lies beside."""
    outputs = {}
    for number, (name, (task, r, labels)) in enumerate(TASKS.items()):
        torch.manual_seed(number)
        fields = {**KINDS[family].fields, "apply_lora": True, "lora_r": r, "lora_alpha": 2 * r, "num_labels": labels}
        model = auto(task).from_pretrained(base, **fields)
        shake(model, number)
        model.save_adapter(tmp_path / name)
        outputs[name] = output(model)
    return outputs


@pytest.fixture
def many(alone: dict[str, ModelOutput], tmp_path: Path) -> PreTrainedModel:
    """One model with all of them, the sentiment's active."""
    model: PreTrainedModel = auto("SequenceClassification").from_pretrained(tmp_path / "sentiment")
    for name in TASKS:
        model.load_adapter(tmp_path / name, name)
    return model


def same(first: ModelOutput, second: ModelOutput) -> bool:
    return type(first) is type(second) and all(torch.equal(first[name], second[name]) for name in first)


def near(first: ModelOutput, second: ModelOutput) -> bool:
    return type(first) is type(second) and all(torch.allclose(first[n], second[n], atol=1e-5) for n in first)


def test_the_folder_names_the_task(alone: dict[str, ModelOutput], tmp_path: Path) -> None:
    for name, (task, _, labels) in TASKS.items():
        config = json.loads((tmp_path / name / "adapter_config.json").read_text())
        assert config["task_type"] == TASK_TYPES[task]
        again = auto(task).from_pretrained(tmp_path / name)
        assert same(output(again), alone[name])
        assert again.config.num_labels == labels


def test_switching_changes_the_kind_of_head(
    many: PreTrainedModel, alone: dict[str, ModelOutput], tmp_path: Path
) -> None:
    for name in (*TASKS, *reversed(TASKS)):
        many.set_adapter(name)
        assert same(output(many), alone[name])
        assert many.config.num_labels == TASKS[name][2]
        many.save_adapter(tmp_path / "again")
        assert same(output(auto(TASKS[name][0]).from_pretrained(tmp_path / "again")), alone[name])


def test_one_batch_holds_rows_of_all_kinds(many: PreTrainedModel, alone: dict[str, ModelOutput]) -> None:
    names = ["sentiment", "names", "answers", "topic", "places", "words"]
    before = values(many)
    for active in ("sentiment", "answers"):
        many.set_adapter(active)
        mixed = output(many, adapter_names=names)
        assert isinstance(mixed, MixedOutput)
        for row, name in enumerate(names):
            expected = type(alone[name])(**{key: value[row : row + 1] for key, value in alone[name].items()})
            assert near(mixed.outputs[row], expected), (row, name)
    many.set_adapter("sentiment")
    assert same_tensors(values(many), before)


@pytest.mark.parametrize(
    "names", [["names", "places"], ["answers", "answers"], ["sentiment", "topic"], ["words", "words"]]
)
def test_one_kind_gives_its_own_output(many: PreTrainedModel, alone: dict[str, ModelOutput], names: list[str]) -> None:
    found = output(many, adapter_names=names * 3)
    assert type(found) is type(alone[names[0]])
    for row, name in enumerate(names * 3):
        for key, value in alone[name].items():
            own = found[key][row]
            if key == "logits":
                assert torch.isneginf(own[..., value.shape[-1] :]).all()
                own = own[..., : value.shape[-1]]
            assert torch.allclose(own, value[row], atol=1e-5)


def test_merging_keeps_the_kind(many: PreTrainedModel, alone: dict[str, ModelOutput], tmp_path: Path) -> None:
    many.set_adapter("names")
    many.merge_adapter()
    assert near(output(many), alone["names"])
    many.unmerge_adapter()
    assert same(output(many), alone["names"])
    plain = many.merge_and_unload()
    plain.save_pretrained(tmp_path / "plain")
    assert near(output(auto("TokenClassification").from_pretrained(tmp_path / "plain")), alone["names"])


def test_deleting_the_active_one_leaves_another_kind(many: PreTrainedModel, alone: dict[str, ModelOutput]) -> None:
    many.set_adapter("answers")
    for name in ("answers", "sentiment", "topic", "words"):
        many.delete_adapter(name)
    assert many.active_adapter == "default", "the one that the model was loaded with"
    many.delete_adapter("default")
    assert same(output(many), alone[str(many.active_adapter)])


def test_a_copy_and_a_cast_have_all_kinds(many: PreTrainedModel, alone: dict[str, ModelOutput]) -> None:
    copied = copy.deepcopy(many)
    many.set_adapter("answers")
    assert same(output(copied), alone["sentiment"])
    copied.double()
    for name in TASKS:
        copied.set_adapter(name)
        scores = [value for key, value in output(copied).items() if key.endswith("logits")]
        expected = [value for key, value in alone[name].items() if key.endswith("logits")]
        finite = [value > -1e30 for value in expected]  # question answering excludes padding by the least number
        for score, value, where in zip(scores, expected, finite, strict=True):
            assert score.dtype == torch.float64
            assert torch.allclose(score[where].float(), value[where], atol=1e-4)


def test_training_after_a_switch_trains_that_head(many: PreTrainedModel) -> None:
    many.set_adapter("names")
    trained = {name for name, parameter in many.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if not many.is_base_parameter(name)} == {"classifier.weight", "classifier.bias"}
    loss = many.train()(**batch(), labels=torch.ones(6, 11, dtype=torch.long)).loss
    loss.backward()
    assert many.get_parameter("classifier.weight").grad.abs().sum() > 0


def test_another_class_is_refused_by_name(alone: dict[str, ModelOutput], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"adapter of a \w+ForTokenClassification.*load_adapter"):
        auto("SequenceClassification").from_pretrained(tmp_path / "names")


def test_what_a_mixed_batch_refuses(many: PreTrainedModel) -> None:
    before = values(many)
    for names, more, message in (
        (["names"] * 6, {"labels": torch.zeros(6, dtype=torch.long)}, "exclude each other"),
        (["names"] * 5, {}, "5 adapter_names for 6 rows"),
        (["nobody"] * 6, {}, "no adapter 'nobody'"),
    ):
        with pytest.raises(ValueError, match=message):
            output(many, adapter_names=names, **more)
    assert same_tensors(values(many), before)
