"""Fresh adapters beside loaded ones, combinations of adapters, going back to the base, and PEFT's small helpers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapter_models import KINDS, batch, load_base, logits, make_adapted, write_base
from tiny import same_tensors, values

from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.methods.lora.layers import lora_layers

NAMES = ["roberta", "roberta-biases", "deberta-base-positions"]


@pytest.fixture(params=NAMES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def base(kind: str, tmp_path: Path) -> Path:
    return write_base(KINDS[kind], tmp_path / "base")


@pytest.fixture
def pair(kind: str, base: Path, tmp_path: Path) -> PreTrainedModel:
    """A model with two adapters, ``default`` and ``b``, of other ranks."""
    make_adapted(KINDS[kind], base, seed=2, r=2).save_adapter(tmp_path / "b")
    model = make_adapted(KINDS[kind], base, seed=1)
    model.load_adapter(tmp_path / "b", "b")
    return model


def test_a_fresh_adapter_is_trained_beside_the_first(pair: PreTrainedModel, tmp_path: Path) -> None:
    before = {name: logits(pair, adapter_names=[name] * 6) for name in ("default", "b")}
    pair.add_adapter("new", lora_r=3, lora_alpha=9, lora_dropout=0.1, id2label=["no", "yes"])
    assert pair.active_adapter == "default"
    pair.set_adapter("new")
    assert (pair.config.lora_r, pair.config.lora_alpha, pair.config.lora_dropout) == (3, 9, 0.1)
    assert pair.config.id2label == {0: "no", 1: "yes"}
    assert all(not layer.lora_B.any() and layer.lora_A.any() for _, layer in lora_layers(pair))
    optimizer = torch.optim.SGD([p for p in pair.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        pair.train()(**batch(), labels=torch.arange(6) % 2).loss.backward()
        optimizer.step()
    assert all(layer.lora_B.any() for _, layer in lora_layers(pair))
    pair.save_adapter(tmp_path / "new")
    assert torch.equal(logits(AutoModelForSequenceClassification.from_pretrained(tmp_path / "new")), logits(pair))
    for name, expected in before.items():
        assert torch.equal(logits(pair, adapter_names=[name] * 6), expected), name


def test_the_first_adapter_of_a_plain_model(base: Path, kind: str) -> None:
    plain = load_base(KINDS[kind], base)
    with pytest.raises(ValueError, match="lora_r is None"):
        plain.add_adapter("new")
    assert plain.loaded_adapters == []
    plain.add_adapter("new", lora_r=4, lora_alpha=8, num_labels=3)
    assert plain.active_adapter == "new"
    assert logits(plain).shape == (6, 3)
    made = make_adapted(KINDS["roberta" if "roberta" in kind else kind], base)
    trained = [{n for n, p in model.named_parameters() if p.requires_grad} for model in (plain, made)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_r": 0}, "lora_r is 0"),
        ({"lora_alpha": -1}, "lora_alpha is -1"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1"),
        ({"num_labels": 3, "id2label": ["a"]}, "num_labels is 3, but id2label names 1"),
    ],
)
def test_a_fresh_adapter_s_values_are_checked(pair: PreTrainedModel, fields: dict[str, object], message: str) -> None:
    before = values(pair)
    with pytest.raises(ValueError, match=message):
        pair.add_adapter("new", **fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="already"):
        pair.add_adapter("b")
    assert pair.loaded_adapters == ["default", "b"]
    assert same_tensors(values(pair), before)


def deltas(model: PreTrainedModel, name: str) -> list[torch.Tensor]:
    return [layer.update_of(name).delta() for _, layer in lora_layers(model)]


@pytest.mark.parametrize("kind", ["roberta", "deberta-base-positions"])
def test_a_concatenation_is_the_exact_sum(kind: str, base: Path, pair: PreTrainedModel, tmp_path: Path) -> None:
    pair.add_weighted_adapter(["default", "b"], [0.3, -2.0], "sum", "cat", head_of="b")
    for found, first, second in zip(*(deltas(pair, name) for name in ("sum", "default", "b")), strict=True):
        assert torch.allclose(found, 0.3 * first - 2.0 * second, atol=1e-6)
    pair.add_weighted_adapter(["default", "b"], [0.3, -2.0], "whole", "svd", svd_rank=6, head_of="default")
    for found, exact in zip(deltas(pair, "whole"), deltas(pair, "sum"), strict=True):
        assert torch.allclose(found, exact, atol=1e-5), "6 is the rank of the sum"
    pair.set_adapter("sum")
    assert pair.config.lora_r == 6
    pair.save_adapter(tmp_path / "sum")
    assert torch.equal(logits(AutoModelForSequenceClassification.from_pretrained(tmp_path / "sum")), logits(pair))


def test_a_combination_of_one_with_weight_one_is_that_one(pair: PreTrainedModel) -> None:
    expected = logits(pair)
    for kind in ("cat", "linear", "svd"):
        pair.add_weighted_adapter(["default"], [1.0], kind, kind)
        pair.set_adapter(kind)
        assert torch.allclose(logits(pair), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["roberta"])
def test_what_cannot_be_combined_is_refused(kind: str, base: Path, pair: PreTrainedModel) -> None:
    for arguments, message in (
        ((["default", "b"], [1, 1], "x", "svd"), "head_of"),
        ((["default", "b"], [1, 1], "x", "linear"), "one rank for all"),
        ((["default", "c"], [1, 1], "x", "svd"), "no adapter 'c'"),
        ((["default", "b"], [1], "x", "svd"), "2 adapters and 1 weights"),
        ((["default"], [1], "x", "ties"), "linear, cat, svd was expected"),
        ((["default"], [1], "x", "svd", 99), "svd_rank is 99"),
        ((["default"], [1], "b", "svd"), "already"),
    ):
        with pytest.raises(ValueError, match=message):
            pair.add_weighted_adapter(*arguments)  # type: ignore[arg-type]
    assert pair.loaded_adapters == ["default", "b"]


@pytest.mark.parametrize("kind", ["roberta-biases"])
def test_adapters_that_train_more_of_the_encoder_are_not_combined(
    kind: str, base: Path, pair: PreTrainedModel
) -> None:
    with pytest.raises(ValueError, match="train more of the encoder than LoRA"):
        pair.add_weighted_adapter(["default", "b"], [1, 1], "x", "cat", head_of="b")


@pytest.mark.parametrize("merged", [True, False])
def test_unloaded_is_the_base(kind: str, base: Path, pair: PreTrainedModel, merged: bool, tmp_path: Path) -> None:
    expected = load_base(KINDS[kind], base)
    if merged:
        pair.merge_adapter()
    plain = pair.unload()
    assert plain is pair
    assert not list(lora_layers(plain))
    assert plain.loaded_adapters == []
    own, state = values(expected), values(plain)
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in own if plain.is_base_parameter(name))
    assert plain.base_sha256() == expected.base_sha256()
    plain.load_adapter(tmp_path / "b", "b")
    expected.load_adapter(tmp_path / "b", "b")
    assert torch.equal(logits(plain), logits(expected))


@pytest.mark.parametrize("kind", ["roberta"])
def test_pefts_small_helpers(kind: str, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_adapted(KINDS[kind], base)
    trained = model.num_parameters(only_trainable=True)
    assert model.get_nb_trainable_parameters() == (trained, model.num_parameters())
    model.print_trainable_parameters()
    share = 100 * trained / model.num_parameters()
    assert capsys.readouterr().out == (
        f"trainable params: {trained:,d} || all params: {model.num_parameters():,d} || trainable%: {share:.4f}\n"
    )
    for change, expected in ((model.enable_input_require_grads, True), (model.disable_input_require_grads, False)):
        change()
        change()
        assert model.get_input_embeddings()(batch()["input_ids"]).requires_grad is expected


@pytest.mark.parametrize("kind", ["roberta"])
def test_a_vocabulary_is_padded(kind: str, base: Path) -> None:
    model = load_base(KINDS[kind], base)
    assert model.resize_token_embeddings(pad_to_multiple_of=8).num_embeddings == 64
    assert model.resize_token_embeddings(65, pad_to_multiple_of=8).num_embeddings == 72
    assert model.config.vocab_size == 72
    with pytest.raises(ValueError, match="pad_to_multiple_of is 0"):
        model.resize_token_embeddings(pad_to_multiple_of=0)
