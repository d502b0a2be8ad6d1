"""Pipelines: order, streams, limits, adapters, and errors. That answers are upstream's: tests/reference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoint import write_tiny_checkpoint

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Pipeline,
    PreTrainedModel,
    RobertaConfig,
    TextClassificationPipeline,
    pipeline,
)
from transformers.layers.inputs import EncoderInputs
from transformers.models.auto.configuration_auto import model_class

TEXTS = ["good film", "a bad film was not very awful", "", "fine " * 20, "the film", "b" * 9] * 7


def write(folder: Path, task: str, **fields: Any) -> Path:
    """Write a tiny model with a head whose values are large."""
    write_tiny_checkpoint(folder)
    torch.manual_seed(1)
    config = RobertaConfig.from_pretrained(folder, initializer_range=0.4, **fields)
    model_class("roberta", task)(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("classifier"), "sequence-classification", num_labels=3)


def close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [each["label"] for each in found] == [each["label"] for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-6)


def test_any_batch_gives_the_same_answers_in_order(classifier: Path) -> None:
    label = pipeline("sentiment-analysis", model=classifier)
    alone = [label(text)[0] for text in TEXTS]
    assert len({round(each["score"], 4) for each in alone}) == 6
    close(label(TEXTS), alone)
    close(label(tuple(TEXTS), batch_size=4), alone)
    close(list(label(text for text in TEXTS)), alone)


def test_streams_are_read_as_they_are_used(classifier: Path) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield TEXTS[read % len(TEXTS)]

    label = pipeline("text-classification", model=classifier)
    answers = label(endless())
    assert read == 0
    close([next(answers) for _ in range(3)], label(TEXTS[1:4]))
    assert 3 <= read <= 1024


def test_the_task_is_what_was_saved(classifier: Path) -> None:
    assert isinstance(pipeline(model=classifier), TextClassificationPipeline)
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    assert pipeline(model=model, tokenizer=AutoTokenizer.from_pretrained(classifier)).task == "text-classification"


def test_an_adapter_is_a_model_like_any_other(tmp_path: Path) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    fields: dict[str, Any] = {"apply_lora": True, "lora_r": 2, "lora_alpha": 8, "num_labels": 3}
    model = AutoModelForSequenceClassification.from_pretrained(base, **fields)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if ".lora_" in name or name.startswith("classifier"):
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_adapter(tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(base)
    expected = TextClassificationPipeline(model, tokenizer)(TEXTS)
    close(pipeline(model=tmp_path / "adapter", tokenizer=base)(TEXTS), expected)
    close(pipeline(model=tmp_path / "adapter")(TEXTS), expected)  # its folder has no tokenizer: the base's has


def test_all_scores(classifier: Path) -> None:
    label = pipeline("text-classification", model=classifier)
    (scores,) = label("good film", return_all_scores=True)
    assert [each["label"] for each in scores] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert sum(each["score"] for each in scores) == pytest.approx(1)
    assert sorted(scores, key=lambda each: -each["score"]) == label("good film", top_k=None)


def test_long_texts_are_refused_or_cut(classifier: Path) -> None:
    label = pipeline("text-classification", model=classifier)
    with pytest.raises(ValueError, match=r"Example 1 has 102 tokens, and this model takes 64\. truncation=True cuts"):
        label(["good", "good " * 100])
    with pytest.raises(ValueError, match="Example 2 has 102 tokens"):
        label([{"text": "a", "text_pair": "b"}, "good", "good " * 100])
    assert label("good " * 100, truncation=True) == label("good " * 62)
    assert label("good bad fine", max_length=4) == label("good bad")


@pytest.mark.parametrize(
    ("inputs", "choices", "message"),
    [
        (5, {}, "takes a text or"),
        (["a", 5], {}, "Example 1 is a int"),
        ({"txt": "a"}, {}, r"Example 0 is \{'txt': 'a'\}"),
        ({"text": "a", "text_pair": 5}, {}, "Example 0 is"),
        ("a", {"foo": 1}, "'foo' is no choice of this pipeline; it has truncation"),
        ("a", {"top_k": 0}, "top_k is 0"),
        ("a", {"function_to_apply": "tanh"}, "softmax, sigmoid, none are known"),
        ("a", {"batch_size": 0}, "batch_size is 0"),
        (b"bytes", {}, "this is a bytes"),
    ],
)
def test_what_cannot_be_used_is_said(classifier: Path, inputs: Any, choices: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        pipeline("text-classification", model=classifier)(inputs, **choices)


def test_no_texts_have_no_answers(classifier: Path) -> None:
    assert pipeline("text-classification", model=classifier)([]) == []


def test_what_cannot_be_loaded_is_said(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no task 'summarization' here"):
        pipeline("summarization", model=classifier)
    with pytest.raises(ValueError, match="Give a model"):
        pipeline("ner")
    with pytest.raises(ValueError, match="comes with its tokenizer"):
        pipeline("text-classification", model=AutoModelForSequenceClassification.from_pretrained(classifier))
    model, tokenizer = (
        each.from_pretrained(classifier) for each in (AutoModelForSequenceClassification, AutoTokenizer)
    )
    with pytest.raises(ValueError, match="fill-mask needs a model of the task masked-lm"):
        pipeline("fill-mask", model=model, tokenizer=tokenizer)
    with pytest.raises(OSError, match="nowhere"):
        pipeline("ner", model=tmp_path / "nowhere")


def test_masks_alone_are_scored_as_among_all(tmp_path: Path) -> None:
    fill = pipeline("fill-mask", model=write(tmp_path / "words", "masked-lm"))
    ids = torch.randint(5, 40, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = mask[2, 2:] = 0
    places = torch.zeros_like(ids, dtype=torch.bool)
    places[0, 3] = places[1, 4] = places[2, 0] = places[3, 8] = places[3, 1] = True
    inputs = EncoderInputs(input_ids=ids, attention_mask=mask)
    with torch.no_grad():
        expected = fill.model.scores(inputs)["logits"][places]
        assert torch.allclose(fill.model.scores_at(inputs, places), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"Example 1 has no \[MASK\]"):
        fill(["a [MASK]", "b"])
    with pytest.raises(ValueError, match="targets is empty"):
        fill("a [MASK]", targets=[])


def test_choices_are_scored_together(tmp_path: Path) -> None:
    choose = pipeline(model=write(tmp_path / "choices", "multiple-choice"))
    asked = [
        {"context": "the film was", "choices": ["good", "very bad", "not " * 20]},
        {"context": "fine " * 9, "choices": ["awful", "film"]},
    ]
    for example, answer in zip(asked, choose(asked), strict=True):
        both = choose.tokenizer([example["context"]] * len(example["choices"]), example["choices"], padding=True)
        inputs = {name: torch.tensor(value)[None] for name, value in both.items()}
        with torch.no_grad():
            expected = choose.model(**inputs).logits.softmax(-1)[0]
        assert [each["index"] for each in answer] == expected.argsort(descending=True).tolist()
        for each in answer:
            assert each["choice"] == example["choices"][each["index"]]
            assert each["score"] == pytest.approx(expected[each["index"]].item(), abs=1e-6)
    assert choose(asked[0], top_k=1) == choose(asked[0])[:1]
    with pytest.raises(ValueError, match="Example 0: choices is no list of two texts or more"):
        choose({"context": "a", "choices": ["b"]})


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return pipeline(model=write(tmp_path_factory.mktemp("answers"), "question-answering"))


CONTEXT = "the film was very good and abc12 was not awful"


def every_span(model: PreTrainedModel, tokenizer: Any, question: str, context: str, longest: int) -> list[Any]:
    """Give every span that may be an answer with its probability, by the definition alone."""
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets, parts = encoded.pop("offset_mapping")[0].tolist(), encoded.sequence_ids(0)
    with torch.no_grad():
        output = model(**encoded)
    inside = [place for place, part in enumerate(parts) if part == 1]
    counted = torch.tensor([place for place, part in enumerate(parts) if part == 1 or place == 0])
    begin, end = (
        dict(zip(counted.tolist(), logits[0, counted].double().softmax(0).tolist(), strict=True))
        for logits in (output.start_logits, output.end_logits)
    )
    spans = [
        (begin[first] * end[last], offsets[first][0], offsets[last][1])
        for first in inside
        for last in inside
        if first <= last < first + longest
    ]
    return [*sorted(spans, reverse=True), begin[0] * end[0]]


def test_answers_are_the_most_probable_spans(answerer: Pipeline) -> None:
    *spans, none = every_span(answerer.model, answerer.tokenizer, "what was good", CONTEXT, 4)
    chosen = {"max_answer_len": 4, "align_to_words": False}
    found = answerer(question="what was good", context=CONTEXT, top_k=9, **chosen)
    assert [(each["start"], each["end"]) for each in found] == [(start, end) for _, start, end in spans[:9]]
    assert np.allclose([each["score"] for each in found], [score for score, *_ in spans[:9]], rtol=1e-4)
    assert all(each["answer"] == CONTEXT[each["start"] : each["end"]] for each in found)
    assert answerer({"question": "what was good", "context": CONTEXT}, **chosen) == found[0]
    with_none = answerer(question="what was good", context=CONTEXT, top_k=500, handle_impossible_answer=True, **chosen)
    (empty,) = [each for each in with_none if each["answer"] == ""]
    assert empty["score"] == pytest.approx(none, rel=1e-4)


def test_answers_are_whole_words(answerer: Pipeline) -> None:
    for answer in answerer(question="a", context=CONTEXT, top_k=40):
        before, after = CONTEXT[: answer["start"]][-1:], CONTEXT[answer["end"] :][:1]
        assert before in ("", " ")
        assert after in ("", " ")


def test_a_long_text_is_read_in_parts(answerer: Pipeline) -> None:
    context = f"{CONTEXT} " * 12
    seen = set()
    for answer in answerer(question="a b", context=context, top_k=2000, max_seq_len=24, doc_stride=8):
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        seen |= set(range(answer["start"], answer["end"]))
    assert {place for place, letter in enumerate(context) if letter != " "} <= seen, "every word was read"


def test_questions_that_cannot_be_asked(answerer: Pipeline) -> None:
    with pytest.raises(ValueError, match="Example 0 has no context: it is ' '"):
        answerer(question="a", context=" ")
    with pytest.raises(TypeError, match="takes question=… and context"):
        answerer(question="a")
    with pytest.raises(ValueError, match="2 questions and 1 contexts"):
        answerer(question=["a", "b"], context=["c"])
    with pytest.raises(ValueError, match="leaves no room"):
        answerer(question="good " * 30, context="a", max_seq_len=20)
    assert len(answerer(question=["a", "b"], context=CONTEXT)) == 2


def test_entities_of_long_texts(tmp_path: Path) -> None:
    labels = {"id2label": {0: "O", 1: "B-A", 2: "I-A"}, "label2id": {"O": 0, "B-A": 1, "I-A": 2}}
    find = pipeline("ner", model=write(tmp_path / "entities", "token-classification", num_labels=3, **labels))
    with pytest.raises(ValueError, match="stride=… with an aggregation_strategy reads it in overlapping parts"):
        find(CONTEXT * 9)
    with pytest.raises(ValueError, match="stride needs an aggregation_strategy"):
        find(CONTEXT, stride=3)
    text = f"{CONTEXT} " * 9
    found = find(text, stride=8, aggregation_strategy="simple", ignore_labels=[])
    assert found[-1]["end"] == len(text.rstrip())
    assert all(one["end"] <= other["start"] for one, other in pairwise(found))
    assert find(CONTEXT, grouped_entities=True) == find(CONTEXT, aggregation_strategy="simple")
