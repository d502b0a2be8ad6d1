"""The arguments of every model's forward: 4.4.2's names in 4.4.2's order, documented, and refused by name."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from head_models import HEADS, TYPES, labels_for, make_head, padded_batch

from transformers import PreTrainedModel, RobertaForSequenceClassification
from transformers.layers.inputs import EncoderInputs
from transformers.models.auto.configuration_auto import model_class


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_arguments_are_those_of_4_4_2(family: str, task: str, shared_data: Path) -> None:
    found = model_class(TYPES[family], task)
    api = json.loads((shared_data / "microsoft-lora" / "api-4.4.2.json").read_text())
    known = api[found.__module__.removeprefix("transformers.")]
    if found.__name__ not in known:
        pytest.skip(f"4.4.2 has no {found.__name__}")
    theirs = known[found.__name__]["methods"]["forward"][1:-1].split(", ")
    ours = [str(each.replace(annotation=each.empty)) for each in inspect.signature(found.forward).parameters.values()]
    assert ours[0] == "self"
    assert [name for name in ours[1:] if not name.startswith("adapter_names")] == [
        name.replace(" = ", "=") for name in theirs
    ]


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_every_argument_is_documented_once(family: str, task: str) -> None:
    forward = model_class(TYPES[family], task).forward
    documented = re.findall(r"^    (\w+): ", forward.__doc__.partition("Returns:")[0], re.MULTILINE)
    assert documented == list(inspect.signature(forward).parameters)[1:]
    assert "Raises:\n    ValueError: " in forward.__doc__
    assert all(each.annotation is not each.empty for each in list(inspect.signature(forward).parameters.values())[1:])


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_by_place_and_by_name_is_the_same(family: str, task: str) -> None:
    model = make_head(family, task)
    inputs = padded_batch(task=task)
    inputs |= labels_for(task, inputs)
    places = [inputs.get(name) for name in list(inspect.signature(model.forward).parameters)]
    by_name, by_place = model(**inputs), model(*places)
    assert torch.equal(by_name.to_tuple()[0], by_place.to_tuple()[0])
    assert isinstance(model(**inputs, return_dict=False), tuple)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {"input_idz": None}, "unexpected keyword argument 'input_idz'"),
        ((None,) * 12, {}, "too many positional arguments"),
        ((None,), {"input_ids": None}, "multiple values for argument 'input_ids'"),
    ],
)
def test_arguments_that_there_are_not(arguments: tuple[None, ...], options: dict[str, None], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_head("roberta", "sequence-classification")(*arguments, **options)


def test_a_subclass_calls_the_forward_above_it() -> None:
    class Scaled(RobertaForSequenceClassification):
        def forward(self, input_ids: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
            logits: torch.Tensor = super().forward(input_ids).logits
            return logits * scale

    plain = make_head("roberta", "sequence-classification")
    scaled = Scaled(plain.config).eval()
    scaled.load_state_dict(plain.state_dict())
    ids = padded_batch()["input_ids"]
    assert torch.equal(scaled(ids), plain(ids).logits * 2)


def test_choices_of_the_configuration_stand_behind_those_of_the_caller() -> None:
    config: PreTrainedModel = make_head("roberta", "base")
    config.config.output_attentions = True
    assert EncoderInputs().with_choices_of(config.config).output_attentions
    assert not EncoderInputs(output_attentions=False).with_choices_of(config.config).wants_layers
