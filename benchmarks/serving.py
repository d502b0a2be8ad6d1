"""What does `transformers-cli serve` do with 64 adapters over MiniLM, and what would others do?

Ranks 2 to 16, 2 to 20 labels, random values; the opinions of the demo as texts, each request one text for an adapter
drawn at random; 32 requests in hand. Each kind of server is the same program but for what computes a batch:

* ``mixed``: the server as it is;
* ``merged``: one adapter, merged into the base, answers everything under the same batching;
* ``switching``: the model is switched to each request's adapter, request by request.

The kinds are measured in turn, three rounds each. What a round answers depends on what else the machine does; the
server's own processor time for an answer hardly does.

``overload`` sends four times what ``mixed`` can do, ``disk`` has 5,000 adapters of which 64 are in memory. Everything
runs over the loopback address, the load in a process of its own. Writes `results/serving.json`::

    .venv/bin/python benchmarks/serving.py --soak 10      # 80 % of the load for ten minutes: results/serving_soak.json
    .venv/bin/python benchmarks/serving.py [--seconds 20] [--base models/minilm-roberta]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import torch

from random_adapters import write_adapters
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.heads.head import Head
from transformers.pipelines.computing import padded
from transformers.serving import running
from transformers.serving.engine import Engine, Read, Served, Unit
from transformers.serving.options import ServeOptions
from transformers.training.environment import describe_environment

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serving.json"
SOAK = HERE / "results" / "serving_soak.json"
DEMO = HERE.parent / "examples" / "text-classification" / "demo" / "train.csv"
ADAPTERS, ON_DISK, IN_HAND, TEXTS, ROUNDS = 64, 5000, 32, 32, 3
LATEST = 60  # seconds that a request may take


# Other servers --------------------------------------------------------------------------------------------------


class MergedEngine(Engine):
    """Answers everything with the first adapter that it gets, merged into the base."""

    merged: Head | None = None

    def enter(self, read: Read) -> Served:
        """Put an adapter in, and its merged model beside it."""
        if self.merged is None:
            plain = AutoModelForSequenceClassification.from_pretrained(read.entry.path)
            self.merged = cast(Head, plain.merge_and_unload().eval())
        return super().enter(read)

    def compute(self, units: Sequence[Unit]) -> list[Any]:
        """Compute all rows in one pass."""
        return _scores(units, cast(Head, self.merged))


class SwitchingEngine(Engine):
    """Switches to the adapter of each row."""

    def compute(self, units: Sequence[Unit]) -> list[Any]:
        """Compute row by row."""
        found: list[Any] = []
        for unit in units:
            self._model.set_adapter(unit.served.key)
            found += _scores([unit], self._model)
        return found


def _scores(units: Sequence[Unit], model: Head) -> list[Any]:
    shown = units[0].served.pipeline
    rows = [unit.row for unit in units]
    with torch.inference_mode():
        logits = model.scores(padded(rows, shown.tokenizer.pad_token_id or 0, model.device))["logits"]
    return list(logits.softmax(-1).numpy())


ENGINES = {"mixed": Engine, "merged": MergedEngine, "switching": SwitchingEngine}


# The load, in a process of its own --------------------------------------------------------------------------------


class Connection:
    """HTTP as far as the load needs it: a library that can more would take the processor from who is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def predict(self, body: bytes) -> tuple[str, bytes]:
        """Send a request; give the status and the content of the answer."""
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        return lines[0].split()[1], await self._reader.readexactly(length)


class Load:
    """What is asked and what came back.

    Args:
        url: Of the server.
        names: The adapters.
        expected: Texts, and by adapter and text the best label and its score.
    """

    def __init__(self, url: str, names: Sequence[str], expected: dict[str, Any]) -> None:
        self._address = url.removeprefix("http://").split(":")
        self._names, self._texts, self._answers = names, list(expected["texts"]), expected["answers"]
        self._idle: list[Connection] = []
        self._random = random.Random(0)
        self.codes: Counter[str] = Counter()
        self.times: list[float] = []
        self.wrong = 0

    async def ask(self) -> None:
        """Ask once."""
        name, text = self._random.choice(self._names), self._random.choice(self._texts)
        body = json.dumps({"adapter": name, "inputs": text}).encode()
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(LATEST):
                connection = self._idle.pop() if self._idle else Connection(*await self._connect())
                status, content = await connection.predict(body)
        except (OSError, EOFError, TimeoutError) as error:
            self.codes[type(error).__name__] += 1
            return
        self._idle.append(connection)
        self.codes[status] += 1
        if status == "200":
            self.times.append(time.perf_counter() - begin)
            found, right = json.loads(content)["outputs"][0], self._answers[name][text]
            self.wrong += found["label"] != right["label"] or abs(found["score"] - right["score"]) > 1e-4

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._address[0], int(self._address[1]))

    async def run(self, seconds: float, rate: float) -> dict[str, Any]:
        """Ask for some time.

        Args:
            seconds: How long.
            rate: Requests a second, whether they are answered or not; 0 for so many as 32 clients ask one after the
                other.

        Returns:
            What came back.
        """
        begin = time.monotonic()
        end = begin + seconds

        async def client() -> None:
            while time.monotonic() < end:
                await self.ask()

        if rate:
            asked = []
            while time.monotonic() < end:
                asked.append(asyncio.create_task(self.ask()))
                await asyncio.sleep(max(0.0, begin + len(asked) / rate - time.monotonic()))
            sent = time.monotonic() - begin
            await asyncio.gather(*asked)
        else:
            await asyncio.gather(*(client() for _ in range(IN_HAND)))
            sent = time.monotonic() - begin
        cuts = statistics.quantiles(self.times, n=100) if len(self.times) > 1 else [0.0] * 99
        return {
            "codes": dict(self.codes),
            "asked_a_second": round(self.codes.total() / sent, 1),
            "answers_a_second": round(len(self.times) / (time.monotonic() - begin), 1),
            "p50_ms": round(1000 * cuts[49], 1),
            "p99_ms": round(1000 * cuts[98], 1),
            "wrong": self.wrong,
        }


# Measuring --------------------------------------------------------------------------------------------------------


def expected_answers(folder: Path, base: Path, names: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Give what each adapter says by itself."""
    tokenizer = cast(Any, AutoTokenizer.from_pretrained(base))
    answers = {}
    for name in names:
        alone = pipeline(model=folder / name, tokenizer=tokenizer, device="cpu")
        answers[name] = dict(zip(texts, alone(list(texts)), strict=True))
    return {"texts": list(texts), "answers": answers}


class Measured:
    """A server that runs while it is measured."""

    def __init__(self, kind: str, adapters: Path, base: Path, threads: int) -> None:
        words = [sys.executable, __file__, "--serve", kind, "--adapters", str(adapters), "--base", str(base)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [*words, "--threads", str(threads)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        begin = time.monotonic()
        self.url = self.process.stdout.readline().split()[-1]
        self.seconds_to_start = round(time.monotonic() - begin, 1)

    def run(self, seconds: float, rate: float, names: Sequence[str], expected: Path) -> dict[str, Any]:
        """Put load on it, in a third process."""
        about = psutil.Process(self.process.pid)
        words = [sys.executable, __file__, "--load", self.url, "--seconds", str(seconds), "--rate", str(rate)]
        before, worked = about.memory_info().rss, sum(about.cpu_times()[:2])
        done = subprocess.run(
            [*words, "--expected", str(expected), "--names", ",".join(names)],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 2 * LATEST,
        )
        memory = {"before": round(before / 1e6), "after": round(about.memory_info().rss / 1e6)}
        found = json.loads(done.stdout)
        found["server_cpu_ms_an_answer"] = round(
            1000 * (sum(about.cpu_times()[:2]) - worked) / max(1, found["codes"].get("200", 0)), 2
        )
        return {**found, "megabytes": memory, "server": self.counted()}

    def counted(self) -> dict[str, float]:
        """Give some of what the server counted."""
        wanted = ("passes_total", "batch_texts_sum", "batch_texts_count", "loads_total", "evictions_total")
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        found = (line.removeprefix("transformers_serve_").rsplit(" ", 1) for line in lines if line[0] != "#")
        return {name: float(value) for name, value in found if name.startswith(wanted)}

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LATEST)


def median(rounds: Sequence[dict[str, Any]], what: str) -> float:
    """Give the median of some rounds."""
    return float(statistics.median(each[what] for each in rounds))


def soak(base: Path, minutes: int, threads: int) -> dict[str, Any]:
    """Ask for 80 % of what the server can do, minute after minute, and see whether its memory grows."""
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name) / "adapters", Path(name) / "expected.json"
        names = write_adapters(folder, base, ADAPTERS, AutoModelForSequenceClassification, 20)
        expected.write_text(json.dumps(expected_answers(folder, base, names, demo_texts())))
        server = Measured("mixed", folder, base, threads)
        server.run(5, 0, names, expected)  # which loads the adapters
        capacity = server.run(20, 0, names, expected)["answers_a_second"]
        found = [server.run(60, 0.8 * capacity, names, expected) for _ in range(minutes)]
        server.stop()
    codes = sum((Counter(each["codes"]) for each in found), Counter())
    return {
        "answers_a_second_at_most": capacity,
        "asked_a_second": round(0.8 * capacity, 1),
        "minutes": minutes,
        "codes": dict(codes),
        "wrong": sum(each["wrong"] for each in found),
        "p50_ms": [each["p50_ms"] for each in found],
        "p99_ms": [each["p99_ms"] for each in found],
        "megabytes_after_each_minute": [each["megabytes"]["after"] for each in found],
    }


def demo_texts() -> list[str]:
    """Give the first opinions of the demo."""
    lines = DEMO.read_text(encoding="utf-8").splitlines()[1 : TEXTS + 1]
    return [line.rpartition(",")[0].strip('"') for line in lines]


def measure(base: Path, seconds: float, threads: int) -> dict[str, Any]:
    """Measure every kind of server."""
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name) / "adapters", Path(name) / "expected.json"
        names = write_adapters(folder, base, ADAPTERS, AutoModelForSequenceClassification, 20)
        known = expected_answers(folder, base, names, demo_texts())
        expected.write_text(json.dumps(known))
        servers = {kind: Measured(kind, folder, base, threads) for kind in ENGINES}
        asked = {kind: names[:1] if kind == "merged" else names for kind in ENGINES}
        for kind, server in servers.items():
            server.run(3, 0, asked[kind], expected)  # which loads the adapters, and is not counted
        for _ in range(ROUNDS):
            for kind, server in servers.items():
                record.setdefault(kind, []).append(server.run(seconds / ROUNDS, 0, asked[kind], expected))
        rate = 4 * median(record["mixed"], "answers_a_second")
        record["overload"] = {"requests_a_second": rate, **servers["mixed"].run(seconds, rate, names, expected)}
        for server in servers.values():
            server.stop()
        many = Path(name) / "many"
        for number in range(ON_DISK):
            shutil.copytree(folder / names[number % ADAPTERS], many / f"{number:04}", copy_function=os.link)
            known["answers"][f"{number:04}"] = known["answers"][names[number % ADAPTERS]]
        expected.write_text(json.dumps(known))
        server = Measured("mixed", many, base, threads)
        record["disk"] = {"adapters": ON_DISK, "seconds_to_start": server.seconds_to_start}
        record["disk"] |= server.run(seconds, 0, sorted(os.listdir(many)), expected)
        server.stop()
    return record


def main() -> None:
    """Measure and write; or be one of the processes that this takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--base", type=Path, default=HERE.parent / "models" / "minilm-roberta")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--soak", type=int, metavar="MINUTES", help="ask for 80 %% of what it can do for so long")
    parser.add_argument("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--adapters", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--names", help=argparse.SUPPRESS)
    parser.add_argument("--expected", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        running.Engine = ENGINES[options.serve]  # type: ignore[misc]
        chosen = ServeOptions(options.adapters, str(options.base), port=0, threads=options.threads, device="cpu")
        sys.exit(running.run_server(chosen))
    if options.load:
        work = Load(options.load, options.names.split(","), json.loads(options.expected.read_text()))
        print(json.dumps(asyncio.run(work.run(options.seconds, options.rate))))
        return
    before = os.getloadavg()
    if options.soak:
        record = soak(options.base, options.soak, options.threads)
        record |= {"load_average_before": before, "load_average_after": os.getloadavg(), "seed": 0}
        record["environment"] = {**describe_environment(), "threads": options.threads}
        SOAK.write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record, indent=2))
        return
    record = {"question": str(__doc__).splitlines()[0], "seconds": options.seconds, "in_hand": IN_HAND}
    record |= measure(options.base, options.seconds, options.threads)
    for what in ("answers_a_second", "server_cpu_ms_an_answer"):
        found = {kind: median(record[kind], what) for kind in ENGINES}
        record[what] = {
            **found,
            **{f"mixed_to_{kind}": round(found["mixed"] / found[kind], 3) for kind in ("merged", "switching")},
        }
    record |= {"load_average_before": before, "load_average_after": os.getloadavg(), "seed": 0}
    record["environment"] = {**describe_environment(), "threads": options.threads}
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
