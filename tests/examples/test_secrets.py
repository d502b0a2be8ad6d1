"""No token in any file or any line, however it was given, and whether the hub takes it or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, serve

import run_glue

SECRET = "hf_SeCrEtSeCrEtSeCrEtSeCrEt"
OTHER = "another-hubs-PaSsWoRd"
RUNS = """
import json, sys
sys.path.insert(0, sys.argv[2])
import run_glue
for words in json.loads(sys.argv[1]):
    try:
        code = run_glue.main(words)
    except SystemExit as error:
        code = error.code
    print("ended with", code, file=sys.stderr)
"""


@pytest.fixture
def hub(tiny_checkpoint: Path) -> Iterator[Hub]:
    """A hub with the tiny model, one that nobody may read, and room for what is uploaded."""
    with serve(Hub()) as server:
        for path in tiny_checkpoint.iterdir():
            server.files["owner/tiny", "main", path.name] = path.read_bytes()
        server.gated.add("owner/gated")
        yield server


def _run(commands: list[list[str]], folder: Path, hub: Hub, **variables: str) -> subprocess.CompletedProcess[str]:
    home = {"HF_HOME": str(folder / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "no_proxy": "127.0.0.1"}
    home |= {"HF_HUB_DISABLE_XET": "1"}
    script = Path(run_glue.__file__)
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **home}
    command = [sys.executable, "-c", RUNS, json.dumps(commands), str(script.parent)]
    return subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, timeout=240, check=False
    )


def _words(model: str, glue: Path, output: Path, *more: str) -> list[str]:
    task = ["--task_name", "mrpc", "--glue_dataset", str(glue), "--do_train", "--max_steps", "2", "--save_steps", "1"]
    method = ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4", "--no_cuda", "--overwrite_output_dir"]
    return ["--model_name_or_path", model, *task, *method, "--output_dir", str(output), *more]


def _as_json(words: list[str]) -> dict[str, object]:
    """Write flags as the fields of a JSON file."""
    fields: dict[str, object] = {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            value = words[place + 1] if place + 1 < len(words) and not words[place + 1].startswith("--") else "true"
            fields[word.removeprefix("--")] = json.loads(value) if value.isdigit() or value == "true" else value
    return fields


def _check(done: subprocess.CompletedProcess[str], folder: Path, hub: Hub) -> None:
    """Look for the tokens in all that was said, written and uploaded."""
    assert len(hub.bodies) > 5, "something was uploaded"
    for secret in (SECRET, OTHER):
        assert not any(secret.encode() in body for body in (*hub.bodies, *hub.files.values()))
        assert secret not in done.stdout
        assert secret not in done.stderr
        for path in folder.rglob("*"):
            if path.is_file() and not path.name.startswith("given"):
                assert secret.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_tokens_of_the_command_line(tiny_glue: Path, tmp_path: Path, hub: Hub) -> None:
    share = ["--push_to_hub", "--hub_strategy", "all_checkpoints", "--hub_model_id"]
    ways = {
        "flag": ["--use_auth_token", SECRET, *share, "somebody/flag", "--hub_token", SECRET],
        "newer": [f"--token={OTHER}", *share, "somebody/newer", f"--hub_token={OTHER}"],
    }
    good = [_words("owner/tiny", tiny_glue, tmp_path / name, *flags) for name, flags in ways.items()]
    given = tmp_path / "given.json"
    given.write_text(
        json.dumps({**_as_json(good[0]), "hub_model_id": "somebody/json", "output_dir": str(tmp_path / "json")})
    )
    good.append([str(given)])
    wrong = ["\n", " ", "€", "\x00"]
    bad = [_words("owner/tiny", tiny_glue, tmp_path / "bad", "--use_auth_token")]  # nobody is logged in
    bad += [_words("owner/gated", tiny_glue, tmp_path / "bad", "--use_auth_token", SECRET)]
    bad += [_words("owner/gated", tiny_glue, tmp_path / "bad", "--use_auth_token", SECRET + each) for each in wrong]
    bad += [_words("owner/nothing", tiny_glue, tmp_path / "bad", "--token", OTHER + each) for each in wrong]
    done = _run([*good, *bad], tmp_path, hub)
    codes = [line.removeprefix("ended with ") for line in done.stderr.splitlines() if line.startswith("ended with ")]
    assert codes == ["0"] * len(good) + ["2"] * len(bad), done.stderr[-3000:]
    _check(done, tmp_path, hub)
    assert any(token is not None and SECRET in token for _, _, token in hub.requests), "it was sent to the hub"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["variable", "file"])
def test_tokens_of_the_environment(way: str, tiny_glue: Path, tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "given").write_text(SECRET)
    variables = {"HF_TOKEN": SECRET} if way == "variable" else {"HF_TOKEN_PATH": str(tmp_path / "given")}
    share = ["--push_to_hub", "--hub_private_repo", "true", "--hub_model_id", "somebody/out"]
    commands = [
        _words("owner/tiny", tiny_glue, tmp_path / "out", *share),
        _words("owner/gated", tiny_glue, tmp_path / "bad"),
    ]
    done = _run(commands, tmp_path, hub, **variables)
    assert done.stderr.count("ended with 0") == 1, done.stderr[-3000:]
    assert done.stderr.count("ended with 2") == 1
    _check(done, tmp_path, hub)
    assert any(token is not None and SECRET in token for _, _, token in hub.requests), "it was sent to the hub"
