"""Under load, with adapters that come and go: each answer is that of its own adapter."""

from __future__ import annotations

import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Running, running, write_adapter

from transformers import pipeline

WORDS = ["good", "bad", "fine", "awful", "the", "film", "was", "very", "not"]
CHANGING = "changing"


def text_of(number: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=3 + number))


def inputs_for(adapter: str, number: int) -> Any:
    text = text_of(number)
    of_kind = {
        "answers": {"question": "what was good?", "context": text},
        "words": f"{text} [MASK]",
        "endings": {"context": text, "choices": [text_of(number + 1), "not good"]},
    }
    return of_kind.get(adapter, text)


def choices_for(adapter: str) -> dict[str, Any]:
    if adapter == "names":
        return {"aggregation_strategy": "simple"}
    return {"top_k": None} if adapter.startswith(("texts", "biases", CHANGING)) else {}


def numbers_in(answer: Any) -> list[float]:
    """Give all scores of an answer, and all else of it as numbers, in order."""
    if isinstance(answer, dict):
        return [each for name in sorted(answer) for each in numbers_in(answer[name])]
    if isinstance(answer, list):
        return [float(len(answer)), *(each for one in answer for each in numbers_in(one))]
    return [float(answer) if isinstance(answer, int | float) else float(hash(answer) % 100_003)]


def same(found: Any, expected: Any) -> bool:
    return numbers_in(found) == pytest.approx(numbers_in(expected), abs=1e-5)


class Truth:
    """What each adapter's folder answers by itself, in each of its versions."""

    def __init__(self, folders: dict[str, list[Path]], base: Path) -> None:
        self.answers: dict[str, list[list[Any]]] = {}
        for name, versions in folders.items():
            alone = [pipeline(model=folder, tokenizer=base) for folder in versions]
            choices = choices_for(name)
            self.answers[name] = [[each(inputs_for(name, at), **choices) for at in range(8)] for each in alone]

    def versions_with(self, name: str, number: int, answer: Any) -> list[int]:
        """Say which versions of an adapter give an answer."""
        return [at for at, version in enumerate(self.answers[name]) if same(answer, version[number])]


@pytest.fixture(scope="module")
def versions(adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two versions of one adapter, of different ranks and numbers of labels."""
    folder = tmp_path_factory.mktemp("versions")
    base = adapters.parent / "base"
    return [
        write_adapter(folder / str(seed), base, seed=20 + seed, r=2 + seed, labels=2 + 3 * seed) for seed in (0, 1)
    ]


@pytest.fixture
def folder(adapters: Path, versions: list[Path], tmp_path: Path) -> Path:
    """A copy of all adapters, with one that is going to change."""
    shutil.copytree(adapters, tmp_path / "adapters")
    shutil.copytree(versions[0], tmp_path / "adapters" / CHANGING)
    return tmp_path / "adapters"


def ask_many(server: Running, truth: Truth, seed: int, requests: int) -> list[str]:
    """Ask adapters at random, and give what was wrong."""
    rng, wrong = random.Random(seed), []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(requests):
            name, number = rng.choice(list(truth.answers)), rng.randrange(8)
            if rng.random() < 0.05:
                client.delete(f"/adapters/{name}")
            body = {"adapter": name, "inputs": inputs_for(name, number), **choices_for(name)}
            response = client.post("/predict", json=body)
            if response.status_code != 200:
                wrong.append(f"{name}: {response.status_code} {response.text}")
            elif not truth.versions_with(name, number, response.json()["outputs"]):
                wrong.append(f"{name} on '{inputs_for(name, number)}': {response.text}")
    return wrong


def test_no_request_sees_anothers_adapter(folder: Path, versions: list[Path], adapters: Path) -> None:
    folders = {path.name: [path] for path in adapters.iterdir()} | {CHANGING: versions}
    truth = Truth(folders, adapters.parent / "base")
    stop = threading.Event()

    def keep_changing() -> list[int]:
        """Overwrite the folder again and again, and ask for the version that was put there."""
        seen, turn = [], 0
        while not stop.is_set():
            turn = 1 - turn
            shutil.copytree(versions[turn], folder / CHANGING, dirs_exist_ok=True)
            assert server.client.post(f"/adapters/{CHANGING}").json()["problem"] is None
            answer = server.outputs(CHANGING, inputs_for(CHANGING, 0), **choices_for(CHANGING))
            assert truth.versions_with(CHANGING, 0, answer) == [turn]
            seen.append(turn)
            stop.wait(0.2)
        return seen

    with running(folder, "--adapters_in_memory", "3", "--no_watch") as server, ThreadPoolExecutor(7) as pool:
        changing = pool.submit(keep_changing)
        asking = [pool.submit(ask_many, server, truth, seed, 50) for seed in range(6)]
        wrong = [line for each in asking for line in each.result()]
        stop.set()
        assert {0, 1} <= set(changing.result())
        metrics = server.client.get("/metrics").text
        assert server.stop() == 0
    assert not wrong, wrong[:5]
    counted = {line.split()[0]: float(line.split()[1]) for line in metrics.splitlines() if line[0] != "#"}
    assert counted['transformers_serve_passes_total{kind="mixed"}'] > 0
    assert counted['transformers_serve_passes_total{kind="alone"}'] > 0
    assert counted["transformers_serve_evictions_total"] > 10
    assert counted["transformers_serve_adapters_in_memory"] <= 3
