"""What the server answers: every head's answers are the pipeline's, and every bad request gets one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from served import Running, running

from transformers import pipeline

TEXTS = ["good film", "a bad film was not very awful", "b" * 9, "fine " * 20]
PAIR = {"text": "the film", "text_pair": "was good"}
QUESTION = {"question": "what was good?", "context": "the film was very good and not awful"}
CHOICES = {"context": "the film was", "choices": ["very good", "not fine", "awful bad film"]}


@pytest.fixture(scope="module")
def server(adapters: Path) -> Iterator[Running]:
    with running(adapters) as found:
        yield found


def close(found: Any, expected: Any) -> None:
    """Compare answers of any form, numbers up to rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            close(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("texts-2-2", TEXTS[0], {}),
    ("texts-20-3", [*TEXTS, PAIR], {}),
    ("texts-5-4", PAIR, {"top_k": None}),
    ("texts-5-4", TEXTS[1], {"return_all_scores": True}),
    ("texts-2-16", "good " * 100, {"truncation": True, "function_to_apply": "none"}),
    ("biases", [TEXTS[0], TEXTS[3]], {"top_k": 2}),
    ("names", TEXTS[1], {}),
    ("names", ["good " * 100, "bad"], {"aggregation_strategy": "simple", "stride": 4}),
    ("names", ["good", "film"], {"is_split_into_words": True}),
    ("words", "a very [MASK] film", {}),
    ("words", ["the [MASK] was [MASK]", TEXTS[1] + "[MASK]"], {"top_k": 2}),
    ("words", "a [MASK] film", {"targets": ["good", "bad"]}),
    ("endings", CHOICES, {}),
    ("endings", [CHOICES, {"context": "fine " * 20, "choices": ["good", "awful bad", "film"]}], {"top_k": 1}),
    ("vectors", TEXTS[1], {}),
    ("vectors", [TEXTS[0], TEXTS[3]], {}),
    ("answers", QUESTION, {}),
    ("answers", [QUESTION, {**QUESTION, "context": "fine " * 90}], {"top_k": 3}),
]


@pytest.mark.parametrize(("adapter", "inputs", "choices"), CASES)
def test_answers_are_the_pipelines(
    server: Running, adapters: Path, adapter: str, inputs: Any, choices: dict[str, Any]
) -> None:
    alone = pipeline(model=adapters / adapter, tokenizer=adapters.parent / "base")
    expected = json.loads(json.dumps(alone(inputs, **choices)))
    close(server.outputs(adapter, inputs, **choices), expected)


BAD: list[tuple[Any, int, str]] = [
    (b"", 400, "The body is empty"),
    (b"  ", 400, "The body is empty"),
    (b"\xff\xfe{", 400, "not UTF-8"),
    (b'{"adapter": "names", "inputs": "\\ud800"}', 400, "not UTF-8"),
    (b'{"adapter"', 400, "not JSON"),
    (b'{"adapter": "names", "inputs": "a", "top_k": NaN}', 400, "NaN is no number"),
    (b"[" * 100_000, 400, "nested too deeply"),
    ([], 422, "no object"),
    ({"inputs": "a"}, 422, 'no "adapter"'),
    ({"adapter": "names"}, 422, 'no "inputs"'),
    ({"adapter": 5, "inputs": "a"}, 422, '"adapter" is no text'),
    ({"adapter": "text-2-2", "inputs": "a"}, 404, "There is no adapter 'text-2-2'. Did you mean 'texts-2-2'"),
    ({"adapter": "../base", "inputs": "a"}, 404, "There is no adapter '../base'"),
    ({"adapter": "names", "inputs": ""}, 422, "empty"),
    ({"adapter": "names", "inputs": []}, 422, "empty"),
    ({"adapter": "names", "inputs": ["a", " "]}, 422, "empty"),
    ({"adapter": "texts-2-2", "inputs": {"text": ""}}, 422, "empty"),
    ({"adapter": "names", "inputs": 5}, 422, "takes a text"),
    ({"adapter": "names", "inputs": [["a"]]}, 422, "Example 0 is a list"),
    ({"adapter": "answers", "inputs": "a"}, 422, "takes {"),
    ({"adapter": "answers", "inputs": {"question": "a", "context": ""}}, 422, "has no context"),
    ({"adapter": "words", "inputs": "good film"}, 422, "has no [MASK]"),
    ({"adapter": "endings", "inputs": "good film"}, 422, "takes {"),
    ({"adapter": "endings", "inputs": {"context": "a", "choices": ["b"]}}, 422, "two texts or more"),
    ({"adapter": "endings", "inputs": {"context": "a", "choices": ["b", " "]}}, 422, "none of them empty"),
    ({"adapter": "endings", "inputs": {"context": "a", "endings": ["b", "c"]}}, 422, "'context', 'endings'"),
    ({"adapter": "names", "inputs": "good " * 100}, 422, "has 102 tokens, and this model takes 64"),
    ({"adapter": "names", "inputs": ["a"] * 300}, 422, "300 texts; at most 256"),
    ({"adapter": "names", "inputs": "a", "foo": 1}, 422, "'foo' is no choice"),
    ({"adapter": "names", "inputs": "a", "batch_size": 1}, 422, "'batch_size' is no choice"),
    ({"adapter": "names", "inputs": "a", "ignore_labels": 5}, 422, "'ignore_labels': Input should be a valid list"),
    ({"adapter": "answers", "inputs": QUESTION, "top_k": 0}, 422, "top_k is 0"),
    ({"adapter": "answers", "inputs": QUESTION, "max_answer_len": 10**30}, 422, "too large a number"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), BAD)
def test_bad_requests_get_one_sentence(server: Running, body: Any, status: int, sentence: str) -> None:
    response = server.client.post("/predict", content=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert response.status_code == status, response.text
    assert response.json().keys() == {"error"}
    assert sentence in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_a_body_of_100_mb_is_refused_and_not_kept(server: Running) -> None:
    process = psutil.Process(server.process.pid)
    server.outputs("names", "good")
    before = process.memory_info().rss
    for chunked in (False, True):
        body: Any = (b" " * 1_000_000 for _ in range(100)) if chunked else b" " * 100_000_000
        response = server.client.post("/predict", content=body)
        assert response.status_code == 413
        assert "at most 1048576 bytes" in response.json()["error"]
    assert process.memory_info().rss - before < 30_000_000


def test_adapters_are_listed_loaded_and_unloaded(server: Running) -> None:
    found = {each["name"]: each for each in server.client.get("/adapters").json()}
    kinds = ["answers", "biases", "endings", "names"]
    assert list(found) == [*kinds, "texts-2-16", "texts-2-2", "texts-20-3", "texts-5-4", "vectors", "words"]
    assert found["words"]["task"] == "masked-lm"
    assert found["words"]["labels"] == []
    assert found["names"]["task"] == "token-classification"
    assert found["texts-20-3"]["rank"] == 3
    assert len(found["texts-20-3"]["labels"]) == 20
    assert all(each["problem"] is None for each in found.values())
    assert not server.client.delete("/adapters/names").json()["in_memory"]
    assert server.client.post("/adapters/names").json()["in_memory"]
    assert server.client.get("/adapters/names").json()["in_memory"]
    for method in ("GET", "POST", "DELETE"):
        response = server.client.request(method, "/adapters/none%2Fhere")
        assert response.status_code == 404
    response = server.client.post("/adapters/name")
    assert (response.status_code, response.json()["error"]) == (
        404,
        "There is no adapter 'name'. Did you mean 'names'?",
    )


def test_what_a_server_says_of_itself(server: Running) -> None:
    assert server.client.get("/healthz").json() == {"status": "ok"}
    schema = server.client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/predict", "/adapters", "/adapters/{name}", "/healthz", "/metrics"}
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    response = server.client.get("/elsewhere")
    assert (response.status_code, response.json()) == (404, {"error": "There is nothing at this path."})
    assert server.client.put("/predict").status_code == 405
    server.outputs("names", "good")
    lines = server.client.get("/metrics").text.splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert values['transformers_serve_requests_total{code="200",path="/predict"}'] >= 1
    assert values["transformers_serve_predict_seconds_count"] >= 1
    assert values["transformers_serve_batch_tokens_sum"] > 1
    assert values["transformers_serve_loads_total"] >= 1
    assert values["transformers_serve_queue_tokens"] == 0
    assert values["transformers_serve_adapters_in_memory"] >= 1
