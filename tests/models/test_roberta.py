"""RoBERTa: padding and company change no row, shortcuts equal the full computation, outputs are as asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import KINDS, load_base, logits, make_adapted, write_base
from tiny import LORA, TINY, random_ids, shake, tiny_config
from torch import Tensor

from transformers import PreTrainedModel, RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel
from transformers.models.roberta.modeling_roberta import create_position_ids_from_input_ids

PAD, LENGTH = 1, 12
TOLERANCE = {"atol": 2e-6, "rtol": 1e-5}


def _texts(lengths: tuple[int, ...] = (5, 12, 1, 8, 5)) -> list[Tensor]:
    return [random_ids(1, length)[0] for length in lengths]


def _right(text: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Pad one text on the right. Shape of ids and mask: (L,)."""
    places = torch.arange(len(text))
    return _place(text, places, length)


def _left(text: Tensor, length: int) -> tuple[Tensor, Tensor]:
    return _place(text, torch.arange(length - len(text), length), length)


def _holes(text: Tensor, length: int) -> tuple[Tensor, Tensor]:
    return _place(text, torch.randperm(length)[: len(text)].sort().values, length)


def _place(text: Tensor, places: Tensor, length: int) -> tuple[Tensor, Tensor]:
    ids, mask = torch.full((length,), PAD), torch.zeros(length, dtype=torch.long)
    ids[places], mask[places] = text, 1
    return ids, mask


Pad = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def _batch(texts: list[Tensor], pad: Pad, length: int = LENGTH) -> dict[str, Tensor]:
    ids, masks = zip(*(pad(text, length) for text in texts), strict=True)
    return {"input_ids": torch.stack(ids), "attention_mask": torch.stack(masks)}


@pytest.fixture(params=[{}, LORA], ids=["plain", "lora"])
def classifier(request: pytest.FixtureRequest) -> PreTrainedModel:
    model = RobertaForSequenceClassification(tiny_config(num_labels=3, **request.param))
    shake(model)
    return model


# Padding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [_right, _left, _holes])
def test_padding_changes_no_text(pad: Pad) -> None:
    model, texts = RobertaModel(tiny_config()).eval(), _texts()
    inputs = _batch(texts, pad)
    together = model(**inputs, output_hidden_states=True, output_attentions=True)
    for row, text in enumerate(texts):
        alone = model(text[None], output_hidden_states=True, output_attentions=True)
        places = inputs["attention_mask"][row].nonzero()[:, 0]
        pairs = zip(
            (together.last_hidden_state, *together.hidden_states), (alone[0], *alone.hidden_states), strict=True
        )
        for ours, wanted in pairs:
            torch.testing.assert_close(ours[row, places], wanted[0], **TOLERANCE)
        torch.testing.assert_close(together.pooler_output[row], alone.pooler_output[0], **TOLERANCE)
        for ours, wanted in zip(together.attentions, alone.attentions, strict=True):
            torch.testing.assert_close(ours[row][:, places][:, :, places], wanted[0], **TOLERANCE)
    outside = inputs["attention_mask"] == 0
    assert not together.last_hidden_state[outside].any(), "zero where the mask is 0"


@pytest.mark.parametrize("pad", [_right, _left, _holes])
def test_padding_changes_no_gradient(classifier: PreTrainedModel, pad: Pad) -> None:
    texts, labels = _texts(), torch.tensor([0, 1, 2, 1, 0])

    def gradients(inputs: list[tuple[dict[str, Tensor], Tensor]]) -> dict[str, Tensor]:
        classifier.train().zero_grad()
        for batch, label in inputs:
            (classifier(**batch, labels=label).loss * len(label) / len(labels)).backward()
        return {n: p.grad.clone() for n, p in classifier.named_parameters() if p.grad is not None}

    together = gradients([(_batch(texts, pad), labels)])
    alone = gradients([({"input_ids": text[None]}, labels[row, None]) for row, text in enumerate(texts)])
    assert together.keys() == alone.keys()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, alone[name], atol=2e-6, rtol=1e-4, msg=name)


def test_company_changes_no_row(classifier: PreTrainedModel) -> None:
    classifier.eval()
    text, others = _texts((6,))[0], _texts((12, 1, 7, 3))
    alone = classifier(**_batch([text], _right)).logits[0]
    for place in range(5):
        batch = _batch([*others[:place], text, *others[place:]], _right)
        torch.testing.assert_close(classifier(**batch).logits[place], alone, **TOLERANCE)


def test_more_padding_changes_nothing(classifier: PreTrainedModel) -> None:
    classifier.eval()
    texts = _texts()
    torch.testing.assert_close(
        classifier(**_batch(texts, _right, 12)).logits, classifier(**_batch(texts, _right, 200)).logits, **TOLERANCE
    )


def test_no_mask_means_all_valid() -> None:
    model, ids = RobertaModel(tiny_config()).eval(), random_ids()
    ids[0, 3:] = PAD  # without a mask padding words are read like any other
    assert torch.equal(model(ids)[0], model(ids, attention_mask=torch.ones_like(ids))[0])
    assert not torch.allclose(model(ids)[0][0], model(ids, attention_mask=(ids != PAD).long())[0][0])


def test_a_row_without_any_token_harms_no_other(classifier: PreTrainedModel) -> None:
    classifier.train()
    inputs = _batch(_texts(), _right)
    alone = classifier(**inputs).logits[1:]
    inputs["attention_mask"][0] = 0
    output = classifier(**inputs, labels=torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(output.logits[1:], alone, **TOLERANCE)
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in classifier.parameters() if p.grad is not None)


# Shortcuts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [_right, _left, _holes])
def test_first_token_shortcut_equals_the_full_computation(classifier: PreTrainedModel, pad: Pad) -> None:
    inputs, labels = _batch(_texts(), pad), torch.tensor([0, 1, 2, 1, 0])
    results = []
    for full in (False, True):
        classifier.train().zero_grad()
        output = classifier(**inputs, labels=labels, output_hidden_states=full)
        output.loss.backward()
        gradients = {n: p.grad.clone() for n, p in classifier.named_parameters() if p.grad is not None}
        results.append((output, gradients))
    (short, short_gradients), (full_output, full_gradients) = results
    torch.testing.assert_close(short.logits, full_output.logits, **TOLERANCE)
    assert short_gradients.keys() == full_gradients.keys()
    for name, gradient in short_gradients.items():
        torch.testing.assert_close(gradient, full_gradients[name], atol=2e-6, rtol=1e-4, msg=name)


def test_the_shortcut_is_taken(classifier: PreTrainedModel) -> None:
    rows: list[int] = []
    last = classifier.roberta.encoder.layer[-1].intermediate
    last.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    classifier.eval()
    classifier(random_ids(4, 9))
    classifier(random_ids(4, 9), output_attentions=True)
    assert rows == [4, 36]


def test_heads_equal_the_encoder() -> None:
    model = RobertaForMaskedLM(tiny_config()).eval()
    inputs = _batch(_texts(), _left)
    scores = model.lm_head(model.roberta(**inputs).last_hidden_state)
    valid = inputs["attention_mask"].bool()
    output = model(**inputs)
    torch.testing.assert_close(output.logits[valid], scores[valid], **TOLERANCE)
    assert not output.logits[~valid].any()


def test_masked_lm_loss_counts_chosen_valid_positions() -> None:
    model = RobertaForMaskedLM(tiny_config()).eval()
    inputs = _batch(_texts(), _holes)
    labels = torch.where(torch.rand(inputs["input_ids"].shape) < 0.5, inputs["input_ids"], -100)
    labels[inputs["attention_mask"] == 0] = 7  # never counted
    output = model(**inputs, labels=labels)
    chosen = inputs["attention_mask"].bool() & (labels != -100)
    wanted = -output.logits.log_softmax(-1)[chosen].gather(1, labels[chosen][:, None]).mean()
    torch.testing.assert_close(output.loss, wanted)


# What was asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_configuration", [False, True])
@pytest.mark.parametrize("flag", ["output_hidden_states", "output_attentions"])
def test_output_flags(flag: str, by_configuration: bool) -> None:
    model = RobertaModel(tiny_config(**{flag: by_configuration})).eval()
    output = model(random_ids()) if by_configuration else model(random_ids(), **{flag: True})
    name = flag.removeprefix("output_")
    other = ({"hidden_states", "attentions"} - {name}).pop()
    shape, count = ((4, 9, 32), 3) if name == "hidden_states" else ((4, 4, 9, 9), 2)
    assert [tuple(each.shape) for each in output[name]] == [shape] * count
    assert output[other] is None if other in output else getattr(output, other) is None
    if by_configuration:
        assert getattr(model(random_ids(), **{flag: False}), name) is None
    if name == "hidden_states":
        assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    else:
        torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones(4, 4, 9))


@pytest.mark.parametrize("model_class", [RobertaModel, RobertaForMaskedLM, RobertaForSequenceClassification])
def test_tuples(model_class: type[PreTrainedModel]) -> None:
    model, ids = model_class(tiny_config()).eval(), random_ids()
    as_dict = model(ids, output_hidden_states=True)
    as_tuple = model(ids, output_hidden_states=True, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == len(as_dict.to_tuple())
    assert torch.equal(as_tuple[0], as_dict[0])
    model.config.return_dict = False
    assert isinstance(model(ids), tuple)


def test_loss_comes_first(classifier: PreTrainedModel) -> None:
    loss, logits = classifier(random_ids(), labels=torch.zeros(4, dtype=torch.long), return_dict=False)
    assert loss.shape == ()
    assert logits.shape == (4, 3)


def test_head_mask() -> None:
    model, ids = RobertaModel(tiny_config()).eval(), random_ids()
    plain = model(ids).last_hidden_state
    torch.testing.assert_close(model(ids, head_mask=torch.ones(4))[0], plain, **TOLERANCE)
    torch.testing.assert_close(model(ids, head_mask=torch.ones(2, 4))[0], plain, **TOLERANCE)
    one_off = torch.tensor([1.0, 0.0, 1.0, 1.0])
    masked = model(ids, head_mask=one_off, output_attentions=True)
    assert not torch.allclose(masked[0], plain)
    assert not masked.attentions[0][:, 1].any()
    per_layer = torch.stack([torch.ones(4), one_off])
    first_layers = model(ids, head_mask=per_layer, output_attentions=True).attentions
    assert first_layers[0][:, 1].any()
    assert not first_layers[1][:, 1].any()
    model.get_parameter("encoder.layer.0.attention.self.value.weight").requires_grad_()
    mask = torch.ones(2, 4, requires_grad=True)
    model(ids, head_mask=mask)[0].sum().backward()
    assert mask.grad is not None
    assert bool(mask.grad.any()), "importance of heads is measured by this gradient"


def test_embeddings_instead_of_ids() -> None:
    model, inputs = RobertaModel(tiny_config()).eval(), _batch(_texts(), _right)
    words = model.get_input_embeddings()(inputs["input_ids"])
    by_words = model(inputs_embeds=words, attention_mask=inputs["attention_mask"]).last_hidden_state
    torch.testing.assert_close(by_words, model(**inputs).last_hidden_state, **TOLERANCE)


def test_positions_and_token_types() -> None:
    model, ids = RobertaModel(tiny_config()).eval(), random_ids()
    counted = create_position_ids_from_input_ids(ids, PAD)
    assert torch.equal(counted, torch.arange(2, 11).expand(4, 9))
    plain = model(ids)[0]
    assert torch.equal(model(ids, position_ids=counted)[0], plain)
    assert torch.equal(model(ids, position_ids=counted[:1])[0], plain), "one row of positions serves all"
    torch.testing.assert_close(model(ids, token_type_ids=torch.zeros_like(ids))[0], plain)
    assert not torch.allclose(model(ids, token_type_ids=torch.ones_like(ids))[0], plain)
    assert not torch.allclose(model(ids, position_ids=counted + 1)[0], plain)


@pytest.mark.parametrize("seed", [0, 1])
def test_dropout_is_drawn_anew_and_follows_the_seed(seed: int) -> None:
    model = RobertaModel(tiny_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)).train()
    ids = random_ids()
    torch.manual_seed(seed)
    first, second = model(ids)[0], model(ids)[0]
    torch.manual_seed(seed)
    assert torch.equal(model(ids)[0], first)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({}, 0.3),
        ({"classifier_dropout": 0.2}, 0.2),
        ({"classifier_dropout": 0.2, "cls_dropout": 0.1}, 0.1),
        ({"cls_dropout": 0.0}, 0.0),
    ],
)
def test_heads_dropout(fields: dict[str, Any], rate: float) -> None:
    model = RobertaForSequenceClassification(tiny_config(hidden_dropout_prob=0.3, **fields))
    assert model.classifier.dropout.p == rate


@pytest.mark.parametrize("lora", [{}, LORA], ids=["plain", "lora"])
def test_bfloat16_stays_close(lora: dict[str, Any]) -> None:
    model = RobertaForSequenceClassification(tiny_config(initializer_range=0.05, **lora)).eval()
    inputs, labels = _batch(_texts(), _right), torch.tensor([0, 1, 1, 0, 1])
    wanted = model(**inputs).logits
    if lora:
        model.cast_frozen_parameters(torch.bfloat16)
    else:
        model.to(torch.bfloat16)
    assert model.dtype == torch.bfloat16
    output = model(**inputs, labels=labels)
    torch.testing.assert_close(output.logits.float(), wanted, atol=0.02, rtol=0.02)
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".roberta" not in name:
            assert parameter.grad is None or parameter.grad.dtype == parameter.dtype
    assert model.classifier.out_proj.weight.grad is not None


def test_autocast(classifier: PreTrainedModel) -> None:
    classifier.train()
    inputs = _batch(_texts(), _right)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = classifier(**inputs, labels=torch.tensor([0, 1, 2, 1, 0]))
    output.loss.backward()
    torch.testing.assert_close(output.logits.float(), classifier(**inputs).logits, atol=0.2, rtol=0.1)
    assert all(p.grad.dtype == torch.float32 for p in classifier.parameters() if p.grad is not None)


# Refused ------------------------------------------------------------------------------------------------------

IDS = torch.full((2, 5), 7)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "exactly one"),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(2, 5, 32)}, "exactly one"),
        ({"input_ids": IDS[0]}, r"input has the shape \(5,\)"),
        ({"inputs_embeds": torch.zeros(5, 32)}, "input has the shape"),
        ({"input_ids": IDS[:0]}, "empty"),
        ({"input_ids": IDS[:, :0]}, "empty"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, r"attention_mask has the shape \(2, 4\)"),
        ({"input_ids": IDS, "attention_mask": torch.ones(5)}, "attention_mask has the shape"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 5, 5)}, "attention_mask has the shape"),
        ({"input_ids": IDS, "token_type_ids": torch.zeros(2, 6, dtype=torch.long)}, "2 rows and 5 columns"),
        ({"input_ids": IDS, "position_ids": torch.zeros(3, 5, dtype=torch.long)}, "2 rows and 5 columns"),
        ({"input_ids": IDS, "head_mask": torch.ones(3)}, r"head_mask has the shape \(3,\)"),
        ({"input_ids": IDS, "head_mask": torch.ones(3, 4)}, "head_mask has the shape"),
        ({"input_ids": torch.full((1, 23), 7)}, "23 tokens, but this model has positions for 22"),
        ({"inputs_embeds": torch.zeros(1, 30, 32)}, "30 tokens, but this model has positions for 22"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobertaModel(tiny_config())(**inputs)


def test_the_longest_text_fits_whatever_its_padding() -> None:
    model = RobertaModel(tiny_config()).eval()
    longest = TINY["max_position_embeddings"] - PAD - 1
    model(random_ids(2, longest))
    model(**_batch(_texts((longest, 3)), _right, 40))


@pytest.mark.parametrize(
    "fields", [{"hidden_size": 30}, {"hidden_act": "gelo"}, {"position_embedding_type": "relative"}]
)
def test_configurations_that_make_no_model(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"30|gelo|relative"):
        RobertaModel(tiny_config(**fields))


def test_a_tuple_has_a_place_for_the_pooler_that_is_not_there() -> None:
    model = RobertaModel(tiny_config(), add_pooling_layer=False)
    states, pooled, hidden = model(random_ids(), output_hidden_states=True, return_dict=False)
    assert pooled is None
    assert torch.equal(states, hidden[-1])


@pytest.mark.parametrize("model_class", [RobertaModel, RobertaForMaskedLM])
def test_arguments_of_a_decoder_have_their_places(model_class: type[PreTrainedModel]) -> None:
    model, ids = model_class(tiny_config()).eval(), random_ids()
    decoding = (None, None, None, False) if model_class is RobertaModel else (None, None, None)
    output = model(ids, torch.ones_like(ids), None, None, None, None, *decoding, True, True, False)
    assert isinstance(output, tuple)
    assert len(output[-1]) == 2
    assert output[-1][0].shape == (4, 4, 9, 9)  # attentions
    given = ["encoder_hidden_states", "encoder_attention_mask"]
    for name in given + (["past_key_values"] if model_class is RobertaModel else []):
        torch.testing.assert_close(model(ids, **{name: None})[0], output[0], **TOLERANCE)
        with pytest.raises(ValueError, match="is an encoder, and takes None"):
            model(ids, **{name: torch.ones(1)})


def test_rows_that_are_computed_apart(tmp_path: Path) -> None:
    """Adapters that train biases too share no base, and each row has its own forward pass."""
    kind = KINDS["roberta-biases"]
    base = write_base(kind, tmp_path / "base")
    for seed, name in enumerate(("a", "b")):
        make_adapted(kind, base, seed=seed).save_adapter(tmp_path / name)
    model = load_base(KINDS["roberta"], tmp_path / "a").eval()
    model.load_adapter(tmp_path / "b", "b")
    names, masked = ["default", "b"] * 3, {"head_mask": torch.tensor([1.0, 0.0, 1.0, 1.0])}
    together = logits(model, adapter_names=names, **masked)
    for name in ("default", "b"):
        model.set_adapter(name)
        rows = [row for row, wanted in enumerate(names) if wanted == name]
        assert not torch.allclose(logits(model)[rows], together[rows])
        torch.testing.assert_close(logits(model, **masked)[rows], together[rows], atol=1e-5, rtol=1e-5)
    for flag in ("output_attentions", "output_hidden_states"):
        with pytest.raises(ValueError, match=f"{flag} and adapter_names exclude each other"):
            logits(model, adapter_names=names, **{flag: True})
        setattr(model.config, flag, True)
        with pytest.raises(ValueError, match=f"Pass {flag}=False"):
            logits(model, adapter_names=names)
        assert logits(model, adapter_names=names, **{flag: False}).shape == together.shape
        setattr(model.config, flag, False)
