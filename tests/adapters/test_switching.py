"""What several adapters on one base refuse, and what else is true of one kind of model."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, load_base, logits, make_adapted, write_base
from tiny import same_tensors, shake, values

from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.methods.lora import lora_state_dict, mark_only_lora_as_trainable
from transformers.methods.lora.layers import MIX, lora_layers

ROBERTA = KINDS["roberta"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(ROBERTA, tmp_path / "base")


@pytest.fixture
def pair(base: Path, tmp_path: Path) -> PreTrainedModel:
    """A model made with one adapter, and a second one loaded beside it."""
    make_adapted(ROBERTA, base, seed=2, r=2, num_labels=2).save_adapter(tmp_path / "second")
    model = make_adapted(ROBERTA, base, seed=3)
    model.load_adapter(tmp_path / "second", "second")
    return model


def test_the_adapter_that_a_model_is_made_with_is_the_default(pair: PreTrainedModel, base: Path) -> None:
    assert pair.loaded_adapters == ["default", "second"]
    assert pair.active_adapter == "default"
    expected = logits(make_adapted(ROBERTA, base, seed=3))
    pair.set_adapter("second")
    pair.set_adapter("default")
    assert torch.equal(logits(pair), expected)


def test_a_name_is_taken_once(pair: PreTrainedModel, tmp_path: Path) -> None:
    state = values(pair)
    with pytest.raises(ValueError, match="already"):
        pair.load_adapter(tmp_path / "second", "second")
    assert same_tensors(values(pair), state)


def test_merged_models_do_not_switch(pair: PreTrainedModel, tmp_path: Path) -> None:
    pair.merge_adapter()
    merged = logits(pair)
    for attempt in (
        lambda: pair.set_adapter("second"),
        lambda: pair.delete_adapter("second"),
        lambda: pair.load_adapter(tmp_path / "second", "third"),
        lambda: pair(torch.ones(1, 3, dtype=torch.long), adapter_names=["second"]),
    ):
        with pytest.raises(ValueError, match="unmerge_adapter"):
            attempt()
    assert torch.equal(logits(pair), merged)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["second"] * 5, "5 adapter_names for 6 rows"), (["second"] * 5 + ["none"], "no adapter 'none'")],
)
def test_mixed_batches_say_what_is_wrong(pair: PreTrainedModel, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        logits(pair, adapter_names=names)
    assert MIX.get() is None


def test_mixed_batches_have_no_loss_and_no_training(pair: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        logits(pair, adapter_names=["second"] * 6, labels=torch.zeros(6, dtype=torch.long))
    pair.train()
    with pytest.raises(ValueError, match="for evaluation"):
        pair(torch.ones(1, 3, dtype=torch.long), adapter_names=["second"])


def test_a_plain_model_has_no_adapter(base: Path) -> None:
    model = load_base(ROBERTA, base)
    assert model.loaded_adapters == []
    for attempt in (model.merge_adapter, model.merge_and_unload, lambda: model.set_adapter("x")):
        with pytest.raises(ValueError, match=r"no LoRA layers|no adapter"):
            attempt()
    with pytest.raises(ValueError, match="no adapter"), model.disable_adapter():
        pass


def test_training_one_adapter_leaves_the_other_alone(pair: PreTrainedModel) -> None:
    pair.set_adapter("second")
    waiting = [
        update.lora_B.detach().clone() for _, layer in lora_layers(pair) for update in [layer.update_of("default")]
    ]
    pair.train()
    optimizer = torch.optim.SGD([p for p in pair.parameters() if p.requires_grad], lr=0.1)
    pair(torch.randint(5, 60, (4, 7)), labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    optimizer.step()
    after = [update.lora_B for _, layer in lora_layers(pair) for update in [layer.update_of("default")]]
    assert all(torch.equal(a, b) for a, b in zip(waiting, after, strict=True))


def test_waiting_adapters_move_with_the_model(pair: PreTrainedModel) -> None:
    pair.double()
    pair.set_adapter("second")
    assert logits(pair).dtype == torch.float64
    assert logits(pair, adapter_names=["default", "second"] * 3).dtype == torch.float64


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_keep_their_adapters_apart(pair: PreTrainedModel, duplicate: object) -> None:
    other = duplicate(pair)  # type: ignore[operator]
    other.set_adapter("second")
    assert torch.equal(logits(pair), logits(pair))
    assert logits(pair).shape[1] == 3
    assert logits(other).shape[1] == 2


@pytest.mark.parametrize("bias", ["none", "all", "lora_only"])
def test_loralibs_own_functions_work_and_their_choice_of_biases_is_saved(
    bias: str, base: Path, tmp_path: Path
) -> None:
    model = make_adapted(ROBERTA, base)
    mark_only_lora_as_trainable(model, bias)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(lora_state_dict(model, bias)), "loralib's two functions mean the same parameters"
    shake(model, 4)
    model.save_adapter(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["bias"] == bias
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(again), logits(model))


@pytest.fixture
def with_biases(base: Path, tmp_path: Path) -> dict[str, Path]:
    """Two adapters that train all biases too."""
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    for seed, folder in enumerate(folders.values()):
        make_adapted(KINDS["roberta-biases"], base, seed=seed).save_adapter(folder)
    return folders


@pytest.mark.parametrize("loaded_as_model", [True, False], ids=["from_pretrained", "load_adapter"])
def test_one_adapter_s_biases_are_not_another_s(
    loaded_as_model: bool, with_biases: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    alone = {name: logits(load_base(ROBERTA, folder)) for name, folder in with_biases.items()}
    model = load_base(ROBERTA, with_biases["a"] if loaded_as_model else base)
    if not loaded_as_model:
        model.load_adapter(with_biases["a"], "default")
    model.load_adapter(with_biases["b"], "b")
    make_adapted(ROBERTA, base, seed=7).save_adapter(tmp_path / "plain")
    model.load_adapter(tmp_path / "plain", "plain")
    expected = {"default": alone["a"], "b": alone["b"], "plain": logits(load_base(ROBERTA, tmp_path / "plain"))}
    for name in ("default", "b", "plain", "b", "default"):
        model.set_adapter(name)
        assert torch.equal(logits(model), expected[name]), name
    for active in expected:
        model.set_adapter(active)
        for name, value in expected.items():
            torch.testing.assert_close(logits(model, adapter_names=[name] * len(value)), value, atol=1e-5, rtol=1e-5)
    with model.disable_adapter():
        state = {name: value for name, value in values(model).items() if "lora" not in name}
        plain = {name: value for name, value in values(load_base(ROBERTA, base)).items() if name in state}
    assert all(torch.equal(state[name], plain[name]) for name in plain if model.is_base_parameter(name))


def test_the_table_of_a_frozen_base_keeps_its_size(pair: PreTrainedModel) -> None:
    words = pair.config.vocab_size
    assert pair.resize_token_embeddings(words).num_embeddings == words
    with pytest.raises(ValueError, match="belongs to the frozen base"):
        pair.resize_token_embeddings(words + 3)
    assert pair.config.vocab_size == pair.get_input_embeddings().num_embeddings == words
