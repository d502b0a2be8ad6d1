"""run_glue.py with --push_to_hub: the card tells the figures, and a hub that fails costs nothing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, connect, serve
from huggingface_hub import ModelCard

import run_glue
from transformers import AutoTokenizer, pipeline

TOKEN = "hf_SeCrEtSeCrEtSeCrEtSeCrEt"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(Hub()) as running:
        connect(running, tmp_path / "home", monkeypatch)
        yield running


def test_a_run_is_shared(
    hub: Hub, tiny_glue: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model_name_or_path", tiny_checkpoint, "--task_name", "mrpc", "--glue_dataset", tiny_glue]
    words += ["--apply_lora", "--lora_r", "2", "--lora_alpha", "4", "--do_train", "--do_eval", "--do_predict"]
    words += ["--max_steps", "2", "--report_to", "none", "--disable_tqdm", "true", "--output_dir", tmp_path / "out"]
    words += ["--push_to_hub", "--hub_model_id", "mrpc", "--hub_token", TOKEN, "--hub_strategy", "end"]
    hub.uploads.dies_after = 0
    assert run_glue.main([*map(str, words)]) == 2
    assert not (tmp_path / "out").exists(), "nothing is begun that could not be shared"
    hub.uploads.dies_after = 1  # the last upload fails
    assert run_glue.main([*map(str, words)]) == 2
    said = capsys.readouterr().err
    again = said.partition("The run itself is complete; to try again: hf ")[2].strip()
    assert TOKEN not in said
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    hub.uploads.dies_after = None
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    command = [str(Path(sys.executable).with_name("hf")), *shlex.split(again)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    card = ModelCard(hub.files["somebody/mrpc", "main", "README.md"].decode())
    figures = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert figures == {name: results[f"eval_{name}"] for name in ("loss", "accuracy", "f1", "combined_score")}
    assert card.data.eval_results[0].dataset_name == "MRPC"
    named = card.data.datasets, card.data.eval_results[0].dataset_config
    assert named == (None, None), "a folder is no name on the hub"
    sent = set(hub.folder("somebody/mrpc"))
    assert {"adapter_model.safetensors", "tokenizer.json", "run_record.json", "MRPC.tsv", "eval_results.json"} <= sent
    assert not [path for path in sent if path.startswith(("checkpoint", "."))]
    there, here = (
        pipeline("text-classification", model=str(name), token=TOKEN) for name in ("somebody/mrpc", tmp_path / "out")
    )
    assert there("a good film") == here("a good film")
    assert AutoTokenizer.from_pretrained("somebody/mrpc", token=TOKEN)("good") == here.tokenizer("good")
