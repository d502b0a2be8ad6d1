"""Consistency training: the formulas, what is masked, two passes in training and one else, where it applies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_models import FAMILIES, HOULSBY, batch, make_config, make_model
from tiny import LORA, shake
from torch import Tensor
from torch.nn import functional

from transformers import PreTrainedModel
from transformers.layers.inputs import EncoderInputs
from transformers.methods.consistency import consistency_loss, mask_tokens

IDS: dict[str, Any] = {"cls_token_id": 3, "sep_token_id": 2, "unk_token_id": 4}
CUTOFF: dict[str, Any] = {"consistency": "cutoff", "reg_loss_wgt": 1.5, "masking_prob": 0.3, **IDS}
RDROP: dict[str, Any] = {"consistency": "rdrop", "reg_loss_wgt": 1.5}
LABELS = torch.arange(6) % 3


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Formulas -------------------------------------------------------------------------------------------------------


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def expected_loss(first: list[list[float]], second: list[list[float]], labels: list[int], config: Any) -> float:
    """Compute the loss from the formula, number by number."""
    entropy = divergence = 0.0
    for one, two, label in zip(first, second, labels, strict=True):
        p1, p2 = softmax(one), softmax(two)
        middle = softmax([(a + b) / 2 for a, b in zip(one, two, strict=True)])
        entropy -= math.log(p1[label]) + math.log(p2[label])
        for a, b, m in zip(p1, p2, middle, strict=True):
            if config.consistency == "cutoff":
                divergence += a * math.log(a / m) + b * math.log(b / m)
            else:
                divergence += a * math.log(a / b) + b * math.log(b / a)
    rows, classes = len(first), len(first[0])
    return entropy / rows + 0.5 * config.reg_loss_wgt * divergence / (rows * classes)


@given(rows=st.integers(1, 5), classes=st.integers(2, 4), weight=st.floats(0, 4), seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("kind", ["cutoff", "rdrop"])
def test_the_loss_is_the_formula(kind: str, rows: int, classes: int, weight: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(rows, classes, generator=generator).mul(2) for _ in range(2))
    labels = torch.randint(classes, (rows,), generator=generator)
    config = make_config("roberta", num_labels=classes, consistency=kind, reg_loss_wgt=weight)
    wanted = expected_loss(first.tolist(), second.tolist(), labels.tolist(), config)
    assert float(consistency_loss(first, second, labels, config)) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", ["cutoff", "rdrop"])
def test_equal_passes_cost_nothing_more(kind: str) -> None:
    logits = torch.randn(6, 3)
    config = make_config("roberta", consistency=kind, reg_loss_wgt=7.0)
    torch.testing.assert_close(
        consistency_loss(logits, logits, LABELS, config), 2 * functional.cross_entropy(logits, LABELS)
    )


def test_the_kinds_differ() -> None:
    first, second = torch.randn(2, 6, 3)
    losses = [
        consistency_loss(first, second, LABELS, make_config("roberta", consistency=kind, reg_loss_wgt=1.0))
        for kind in ("cutoff", "rdrop")
    ]
    assert losses[1] > losses[0] + 1e-3, "two distributions are further from each other than from their middle"


def test_overconfident_passes_stay_finite() -> None:
    first, second = torch.tensor([[300.0, -300.0, 0.0]]), torch.tensor([[-300.0, 300.0, 0.0]])
    for fields in (CUTOFF, RDROP):
        first.requires_grad_(True).grad = None
        loss = consistency_loss(first, second, torch.tensor([0]), make_config("roberta", **fields))
        loss.backward()
        assert loss.isfinite()
        assert first.grad is not None
        assert first.grad.isfinite().all()


# Masking --------------------------------------------------------------------------------------------------------


@given(probability=st.floats(0, 1), seed=st.integers(0, 999), family=st.sampled_from(sorted(FAMILIES)))
@settings(max_examples=50, deadline=None)
def test_special_tokens_stay_and_others_become_unknown(probability: float, seed: int, family: str) -> None:
    torch.manual_seed(seed)
    config = make_config(family, **{**CUTOFF, "masking_prob": probability, "pad_token_id": 1})
    ids = torch.randint(0, 12, (9, 11))
    masked = mask_tokens(ids, config)
    special = (ids == 3) | (ids == 2) | (ids == 1)
    assert torch.equal(masked[special], ids[special])
    assert bool(((masked == ids) | (masked == 4)).all())
    if probability == 1:
        assert bool((masked[~special] == 4).all())
    if probability == 0:
        assert torch.equal(masked, ids)


def test_the_share_is_the_probability() -> None:
    ids = torch.full((200, 200), 9)
    share = (mask_tokens(ids, make_config("roberta", **CUTOFF)) == 4).float().mean()
    assert share == pytest.approx(0.3, abs=0.01)


# Passes ---------------------------------------------------------------------------------------------------------


def record_passes(model: PreTrainedModel) -> list[Tensor]:
    """Keep the ids of every pass through the encoder."""
    seen: list[Tensor] = []
    encode = model.base_model.encode

    def encode_and_note(inputs: EncoderInputs, **options: Any) -> Any:
        assert inputs.input_ids is not None
        seen.append(inputs.input_ids)
        return encode(inputs, **options)

    model.base_model.encode = encode_and_note
    return seen


@pytest.mark.parametrize("fields", [CUTOFF, RDROP], ids=["cutoff", "rdrop"])
@pytest.mark.parametrize("method", [{}, LORA, HOULSBY], ids=["full", "lora", "houlsby"])
def test_training_takes_two_passes_and_evaluation_one(
    family: str, fields: dict[str, Any], method: dict[str, Any]
) -> None:
    model, plain = make_model(family, **fields, **method), make_model(family, **method)
    plain.load_state_dict(model.state_dict())
    inputs, seen = batch(), record_passes(model)
    evaluated = model(**inputs, labels=LABELS)
    assert len(seen) == 1
    assert torch.equal(evaluated.loss, plain(**inputs, labels=LABELS).loss)

    model.train()
    model(**inputs)
    assert len(seen) == 2, "without labels there is nothing to compare"
    output = model(**inputs, labels=LABELS)
    assert len(seen) == 4
    assert torch.equal(seen[2], inputs["input_ids"])
    changed = seen[3] != inputs["input_ids"]
    assert bool(changed.any()) is (fields["consistency"] == "cutoff")
    assert bool((seen[3][changed] == 4).all())
    assert not bool(changed[inputs["attention_mask"] == 0].any())
    torch.testing.assert_close(output.logits, evaluated.logits)  # dropout is 0: those of the unmasked pass


@pytest.mark.parametrize("fields", [CUTOFF, RDROP], ids=["cutoff", "rdrop"])
def test_the_models_loss_is_that_of_its_two_passes(family: str, fields: dict[str, Any]) -> None:
    model = make_model(family, **fields).train()
    inputs, seen = batch(), record_passes(model)
    loss = model(**inputs, labels=LABELS).loss
    model.eval()
    logits = [model(ids, inputs["attention_mask"]).logits for ids in list(seen)]
    torch.testing.assert_close(loss, consistency_loss(logits[0], logits[1], LABELS, model.config))


def test_the_passes_have_different_dropout(family: str) -> None:
    same = make_model(family, **RDROP).train()
    noisy = make_model(family, **RDROP, hidden_dropout_prob=0.3).train()
    noisy.load_state_dict(same.state_dict())
    for model, differs in ((same, False), (noisy, True)):
        scored: list[Tensor] = []
        score = model.score_rows

        def score_and_note(first: Tensor, scored: list[Tensor] = scored, score: Any = score) -> Tensor:
            scored.append(score(first))
            return scored[-1]

        model.score_rows = score_and_note  # type: ignore[method-assign]
        model(**batch(), labels=LABELS)
        assert len(scored) == 2
        assert torch.equal(*scored) is not differs


@pytest.mark.parametrize("fields", [CUTOFF, RDROP], ids=["cutoff", "rdrop"])
@pytest.mark.parametrize("recompute", [False, True])
def test_both_passes_get_gradients(family: str, fields: dict[str, Any], recompute: bool) -> None:
    """With weight 0 and nothing masked or dropped the loss is twice the plain one, and so is every gradient."""
    settings_ = {**fields, "reg_loss_wgt": 0.0, "masking_prob": 0.0}
    model, plain = make_model(family, **settings_, **LORA).train(), make_model(family, **LORA).train()
    shake(model)
    plain.load_state_dict(model.state_dict())
    if recompute:
        model.gradient_checkpointing_enable()
    for each in (model, plain):
        each(**batch(), labels=LABELS).loss.backward()
    for name, parameter in model.named_parameters():
        other = plain.get_parameter(name).grad
        assert (parameter.grad is None) is (other is None)
        if other is not None:
            torch.testing.assert_close(parameter.grad, 2 * other, rtol=1e-4, atol=1e-6, msg=name)


def test_training_brings_the_passes_together() -> None:
    """Minimising the R-Drop loss makes two passes agree more than minimising the plain loss does."""
    gaps = []
    for weight in (0.0, 100.0):
        torch.manual_seed(3)
        model = make_model("roberta", consistency="rdrop", reg_loss_wgt=weight, hidden_dropout_prob=0.2).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            model(**batch(), labels=LABELS).loss.backward()
            optimizer.step()
        inputs = batch()
        with torch.no_grad():
            passes = torch.stack([model(**inputs).logits.softmax(-1) for _ in range(50)])
        gaps.append(float(passes.std(0).mean()))
    assert gaps[1] < 0.9 * gaps[0]


def test_embeddings_take_rdrop_and_refuse_masking(family: str) -> None:
    inputs = batch()
    for fields, works in ((RDROP, True), (CUTOFF, False)):
        model = make_model(family, **fields).train()
        words = model.get_input_embeddings()(inputs["input_ids"]).detach()
        call = {"inputs_embeds": words, "attention_mask": inputs["attention_mask"], "labels": LABELS}
        if works:
            assert model(**call).loss.isfinite()
        else:
            with pytest.raises(ValueError, match="needs input_ids"):
                model(**call)


# Where it applies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labels": 1}, "does not apply to regression"),
        ({"problem_type": "regression"}, "does not apply to regression"),
        ({"problem_type": "multi_label_classification"}, "does not apply to multi label"),
        ({"unk_token_id": None}, "unk_token_id is None"),
        ({"sep_token_id": None}, "sep_token_id is None"),
    ],
)
def test_a_classifier_that_it_does_not_apply_to(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(family, **{**CUTOFF, **changes})


def test_labels_with_fractions_are_refused(family: str) -> None:
    model = make_model(family, **RDROP).train()
    with pytest.raises(ValueError, match="does not apply to regression"):
        model(**batch(), labels=torch.rand(6, 3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"consistency": "mixup"}, "cutoff or rdrop"),
        ({"reg_loss_wgt": -1.0}, "at least 0"),
        ({"reg_loss_wgt": math.nan}, "at least 0"),
        ({"reg_loss_wgt": "1"}, "at least 0"),
        ({"masking_prob": 1.5, "reg_loss_wgt": 1.0}, "from 0 to 1"),
        ({"masking_prob": 0.1}, "reg_loss_wgt is 0"),
        ({"consistency": "rdrop", "reg_loss_wgt": 1.0, "masking_prob": 0.1}, "R-Drop masks no token"),
    ],
)
def test_fields_out_of_range(family: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(family, **fields)


def test_a_weight_alone_means_cutoff(family: str) -> None:
    """The original has the weight and the probability only."""
    assert make_config(family, reg_loss_wgt=1.0).consistency == "cutoff"
    assert make_config(family, reg_loss_wgt=1.0, consistency="rdrop").consistency == "rdrop"
    assert make_config(family).consistency is None
