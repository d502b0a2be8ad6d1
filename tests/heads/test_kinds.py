"""What belongs to single kinds of heads: who sees whom, which shapes fit, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import make_head, padded_batch
from tiny import random_ids, tiny_config

from transformers import (
    AutoModelForCausalLM,
    DebertaV2Config,
    PreTrainedModel,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

FAMILIES = ["roberta", "deberta"]
TOLERANCE = {"atol": 5e-6, "rtol": 1e-4}

# Causal language models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("task", ["causal-lm", "base"])
def test_no_token_sees_those_behind_it(task: str, side: str) -> None:
    model, inputs = make_head("roberta", task, is_decoder=True), padded_batch(side)
    changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
    changed["input_ids"][:, 5:] = (changed["input_ids"][:, 5:] + 7) % 50 + 5
    with torch.no_grad():
        before, after = model(**inputs)[0], model(**changed)[0]
    torch.testing.assert_close(after[:, :5], before[:, :5], **TOLERANCE)
    valid = inputs["attention_mask"][:, 5:].bool()
    assert not torch.allclose(after[:, 5:][valid], before[:, 5:][valid])


@pytest.mark.parametrize("side", ["right", "left", "holes"])
def test_the_two_ways_of_computing_attention_agree(side: str) -> None:
    model, inputs = make_head("roberta", "causal-lm"), padded_batch(side)
    with torch.no_grad():
        fused, shown = model(**inputs), model(**inputs, output_attentions=True)
    torch.testing.assert_close(fused.logits, shown.logits, **TOLERANCE)
    for probabilities in shown.attentions:
        assert not probabilities.triu(1).any()
        valid = inputs["attention_mask"].bool()
        sums = probabilities.sum(-1).transpose(1, 2)[valid]
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_each_position_is_scored_with_the_next_label() -> None:
    model, ids = make_head("roberta", "causal-lm"), random_ids()
    output = model(ids, labels=ids)
    wanted = -output.logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None]).mean()
    torch.testing.assert_close(output.loss, wanted)


def test_words_can_be_written_one_by_one() -> None:
    model, ids = make_head("roberta", "causal-lm"), random_ids(2, 3)
    with torch.no_grad():
        for _ in range(4):
            inputs = model.prepare_inputs_for_generation(ids)
            ids = torch.cat([ids, model(**inputs).logits[:, -1:].argmax(-1)], 1)
        again = model(ids).logits[:, 2:-1].argmax(-1)  # all at once: each step saw what it needs
    assert torch.equal(again, ids[:, 3:])
    with pytest.raises(NotImplementedError, match=r"generate\(\) is not part of this package"):
        model.generate(ids, max_new_tokens=3)


def test_a_decoder_comes_from_an_encoders_checkpoint(tmp_path: Path) -> None:
    encoder = RobertaForMaskedLM(tiny_config())
    encoder.save_pretrained(tmp_path)
    model, report = RobertaForCausalLM.from_pretrained(tmp_path, is_decoder=True, output_loading_info=True)
    assert not any(report.values())
    assert AutoModelForCausalLM.from_pretrained(tmp_path, is_decoder=True).config.is_decoder
    model.save_pretrained(tmp_path / "saved")
    assert RobertaForCausalLM.from_pretrained(tmp_path / "saved").config.is_decoder
    with pytest.raises(ValueError, match="RobertaForCausalLM needs is_decoder=True"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "model_class", [RobertaForMaskedLM, RobertaForSequenceClassification, RobertaForTokenClassification]
)
def test_what_reads_both_ways_is_no_decoder(model_class: type[PreTrainedModel]) -> None:
    with pytest.raises(ValueError, match=f"is_decoder is set, but {model_class.__name__} needs tokens that see each"):
        model_class(tiny_config(is_decoder=True))
    with pytest.raises(ValueError, match="'deberta-v2' is an encoder"):
        DebertaV2Config(is_decoder=True)


def test_a_decoder_beside_an_encoder_is_none() -> None:
    model, ids = make_head("roberta", "causal-lm"), random_ids()
    for name in ("encoder_hidden_states", "encoder_attention_mask", "past_key_values"):
        with pytest.raises(ValueError, match="are a decoder's inputs"):
            model(ids, **{name: torch.ones(1)})
    assert model(ids, use_cache=True).past_key_values is None


def test_gradient_checkpointing_of_a_decoder() -> None:
    model, ids = make_head("roberta", "causal-lm").train(), random_ids()
    expected = torch.autograd.grad(model(ids, labels=ids).loss, model.lm_head.dense.weight)[0]
    model.gradient_checkpointing_enable()
    found = torch.autograd.grad(model(ids, labels=ids).loss, model.lm_head.dense.weight)[0]
    torch.testing.assert_close(found, expected)


# Question answering ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_never_in_the_padding(family: str) -> None:
    model, inputs = make_head(family, "question-answering"), padded_batch("holes")
    torch.nn.init.constant_(model.qa_outputs.bias, -50.0)  # type: ignore[arg-type,union-attr]
    output = model(**inputs)
    for logits in (output.start_logits, output.end_logits):
        best = logits.argmax(1)
        assert inputs["attention_mask"][torch.arange(len(best)), best].all()
        assert not logits.softmax(1)[inputs["attention_mask"] == 0].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_two_dimensions_are_taken(family: str) -> None:
    model, inputs = make_head(family, "question-answering"), padded_batch()
    start, end = torch.arange(6) % 3, torch.arange(6) % 3 + 1
    flat = model(**inputs, start_positions=start, end_positions=end).loss
    assert torch.equal(model(**inputs, start_positions=start[:, None], end_positions=end[:, None]).loss, flat)
    with pytest.raises(ValueError, match="Give both start_positions and end_positions"):
        model(**inputs, start_positions=start)


@pytest.mark.parametrize("family", FAMILIES)
def test_start_and_end_are_two_scores(family: str) -> None:
    with pytest.raises(
        ValueError, match=r"num_labels is 3, but question answering has two scores .* Pass num_labels=2"
    ):
        make_head(family, "question-answering", num_labels=3)


# Multiple choice ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_choices_are_scored_each_by_itself(family: str) -> None:
    model, inputs = make_head(family, "multiple-choice"), padded_batch(task="multiple-choice")
    with torch.no_grad():
        together = model(**inputs).logits
        assert together.shape == (2, 3)
        for example in range(2):
            for choice in range(3):
                alone = {name: each[example, choice][None, None] for name, each in inputs.items()}
                torch.testing.assert_close(model(**alone).logits[0, 0], together[example, choice], **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_of_choices(family: str) -> None:
    model, inputs = make_head(family, "multiple-choice"), padded_batch(task="multiple-choice")
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    positions = torch.arange(inputs["input_ids"].shape[-1]).expand(inputs["input_ids"].shape) + 2
    rest: dict[str, Any] = {"attention_mask": inputs["attention_mask"], "position_ids": positions}
    with torch.no_grad():
        by_ids = model(input_ids=inputs["input_ids"], **rest).logits
        assert torch.equal(model(inputs_embeds=embeddings, **rest).logits, by_ids)


@pytest.mark.parametrize("inputs", [{"input_ids": random_ids()}, {"inputs_embeds": torch.zeros(2, 5, 32)}])
@pytest.mark.parametrize("family", FAMILIES)
def test_choices_have_a_dimension_of_their_own(family: str, inputs: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"\(batch, choices, length\) was expected"):
        make_head(family, "multiple-choice")(**inputs)
    with pytest.raises(ValueError, match="exactly one of them"):
        make_head(family, "multiple-choice")()


# Poolers -----------------------------------------------------------------------------------------------------------


def test_only_what_pools_has_a_pooler() -> None:
    for task in ("token-classification", "question-answering", "causal-lm", "masked-lm", "sequence-classification"):
        assert isinstance(make_head("roberta", task).base_model, RobertaModel)
        assert make_head("roberta", task).base_model.pooler is None
    assert make_head("roberta", "multiple-choice").base_model.pooler is not None
