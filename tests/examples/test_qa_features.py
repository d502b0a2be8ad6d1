"""Answers and tokens: a window's label is the tokens that have the answer's characters, for every tokenizer."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from vocabularies import make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from qa_arguments import DataTrainingArguments
from qa_data import ANSWERS, CONTEXT, ID, QUESTION, STARTS, QuestionData
from qa_features import BEGINS, ENDS, LONGEST_CONTEXT, OWNER, Windows, encode_questions, make_features
from qa_files import read_questions
from transformers import AutoTokenizer, TrainingArguments

MAKERS = {"wordpiece": make_bert_vocabulary, "bpe": make_roberta_vocabulary, "sentencepiece": make_sentencepiece_model}
PIECE = st.sampled_from(
    [*"ab1.,(\u00ad \n", "  ", "the ", " film", "Anna", "東京", "é", "e\u0301", "😀", "ﬁ", "\u3000", "İ"]
)


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(str(MAKERS[request.param](tmp_path_factory.mktemp("words") / request.param)))


def batch_of(*rows: tuple[str, str, list[tuple[str, int]]]) -> dict[str, list[Any]]:
    return {
        ID: [f"i{number}" for number in range(len(rows))],
        QUESTION: [question for question, _, _ in rows],
        CONTEXT: [context for _, context, _ in rows],
        ANSWERS: [[text for text, _ in answers] for _, _, answers in rows],
        STARTS: [[start for _, start in answers] for _, _, answers in rows],
    }


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.tuples(*[st.lists(PIECE, max_size=12).map("".join)] * 3),
    length=st.integers(16, 22),
    stride=st.integers(0, 7),
)
@example(parts=("aAnna", "ﬁ", "Anna"), length=16, stride=5)  # a window begins within a letter of several tokens
@example(parts=("aaaaAnna", " 😀", ""), length=19, stride=0)  # so does another
def test_the_label_is_the_tokens_of_the_answer(
    tokenizer: Any, parts: tuple[str, str, str], length: int, stride: int
) -> None:
    before, answer, behind = parts[0] + " ", parts[1] + "b", parts[2]
    context = before + answer + behind
    batch = batch_of(("A?", context, [(answer, len(before))]), ("B?", context, []))
    found = encode_questions(batch, [7, 9], tokenizer, Windows(length, stride), labelled=True)
    rows = list(zip(found[BEGINS], found[ENDS], found["start_positions"], found["end_positions"], strict=True))
    own = rows[: found[OWNER].count(7)]
    assert [(start, end) for _, _, start, end in rows[len(own) :]] == [(0, 0)] * found[OWNER].count(9)
    whole = encode_questions(batch, [7, 9], tokenizer, Windows(10_000, stride), labelled=False)
    characters = list(zip(whole[BEGINS][0], whole[ENDS][0], strict=True))
    stop = len(before) + len(answer)
    wanted = [place for place, (begin, end) in enumerate(characters) if 0 <= begin < stop and end > len(before)]
    first = tokenizer("A?", context).sequence_ids(0).index(1)
    done = 0  # tokens of the context that no later window has
    for begins, ends, start, end in own:
        shown = list(zip(begins, ends, strict=True))
        assert shown[first:-1] == characters[first + done : first + done + len(shown) - first - 1]
        places = [place - done for place in wanted]
        holds_all = bool(places) and places[0] >= first and places[-1] < len(shown) - 1
        assert (start, end) == ((places[0], places[-1]) if holds_all else (0, 0))
        assert all(context[begin:end].strip() for begin, end in shown if begin >= 0)
        if holds_all:
            seen = [place for place in range(len(before), stop) if any(b <= place < e for b, e in shown)]
            assert context[seen[0] : seen[-1] + 1] in context[begins[start] : ends[end]]
        done += len(shown) - first - 1 - stride
    assert done + stride == len(characters) - first - 1


def test_windows_are_as_long_as_asked_and_share_what_is_asked(tokenizer: Any) -> None:
    context = " ".join(f"w{number}" for number in range(60))
    found = encode_questions(batch_of(("Who?", context, [])), [0], tokenizer, Windows(32, 5), labelled=False)
    assert "start_positions" not in found
    assert max(map(len, found["input_ids"])) == len(found["input_ids"][0]) == 32
    assert len(found["input_ids"]) > 2
    whole = tokenizer("Who?", context)
    begin = whole.sequence_ids(0).index(1)
    parts = [ids[begin:-1] for ids in found["input_ids"]]
    assert sum((part[5:] for part in parts[1:]), parts[0]) == whole["input_ids"][begin:-1]
    assert all(first[-5:] == second[:5] for first, second in pairwise(parts))
    padded = encode_questions(batch_of(("Who?", "w", [])), [0], tokenizer, Windows(32, 5, True), labelled=False)
    assert len(padded["input_ids"][0]) == len(padded[BEGINS][0]) == 32
    assert set(np.array(padded[BEGINS][0])[np.array(padded["attention_mask"][0]) == 0]) == {-1}


def test_what_leaves_no_room_is_refused_with_its_question(tokenizer: Any) -> None:
    batch = batch_of(("Who?", "Ada left.", []), ("Who " * 20 + "?", "Ada left.", []))
    with pytest.raises(ValueError, match=r"Question 'i1' has \d+ tokens, which leaves \d+ of a window of 32"):
        encode_questions(batch, [0, 1], tokenizer, Windows(32, 12), labelled=False)
    long = batch_of(("Who?", "a" * (LONGEST_CONTEXT + 1), []))
    with pytest.raises(ValueError, match="The context of question 'i0' has 200,001 characters"):
        encode_questions(long, [0], tokenizer, Windows(32, 12), labelled=False)


def test_answers_that_no_window_holds_are_said_and_not_learned(
    tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from datasets import Dataset

    long = " ".join(["the film was good"] * 12)
    rows = [("Who?", "Ada left. " + long, [("Ada", 0)]), ("What?", long, [(long, 0)]), ("Who?", long, [])]
    split = Dataset.from_dict(batch_of(*rows))
    data = QuestionData(
        {"train": split, "validation": split}, {"train": "t.json", "validation": "v.json"}, True, False
    )
    args = TrainingArguments(str(tmp_path), report_to=[], disable_tqdm=True)
    flags = DataTrainingArguments(max_seq_length=32, doc_stride=8)
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        features = make_features(data, tokenizer, 64, flags, args)
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    said = [record.getMessage() for record in caplog.records if "in no window" in record.getMessage()]
    assert said[0].startswith("'t.json': the answers of 1 of 3 questions are in no window of 32 tokens")
    assert "the first is 'i1'. Nothing is learned from them." in said[0]
    assert said[1].startswith("'v.json': the answers of 1 of 3")
    assert set(features["train"][OWNER]) == {0, 2}
    assert set(features["validation"][OWNER]) == {0, 1, 2}


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_answers_of_squad_come_back_from_their_tokens(name: str, shared_data: Path, minilm: Path) -> None:
    folder = shared_data / "squad" / name
    if not folder.is_dir():
        pytest.skip("needs SQuAD")
    read = read_questions(str(folder / "validation-00000-of-00001.parquet"))
    tokenizer = AutoTokenizer.from_pretrained(str(minilm))
    columns = {
        ID: read.ids,
        QUESTION: read.questions,
        CONTEXT: read.contexts,
        ANSWERS: read.answers,
        STARTS: read.starts,
    }
    found = encode_questions(columns, range(len(read.ids)), tokenizer, Windows(128, 64), labelled=True)
    held = set()
    for owner, begins, ends, start, end in zip(
        *(found[key] for key in (OWNER, BEGINS, ENDS, "start_positions", "end_positions")), strict=True
    ):
        if start:
            held.add(owner)
            text = read.contexts[owner][begins[start] : ends[end]]
            assert text == read.answers[owner][0] or read.answers[owner][0] in text
    assert held == {row for row, answers in enumerate(read.answers) if answers}
