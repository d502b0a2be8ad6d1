"""A process dies, or hangs, in the middle of a training: the others say so and stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed_case import ROOT, environment, write_base

pytestmark = pytest.mark.slow

CASE = ROOT / "tests" / "distributed" / "distributed_case.py"


@pytest.mark.parametrize(
    ("name", "way", "number"),
    [("SIGKILL", {}, 3), ("SIGKILL", {"fsdp": "full_shard"}, 2), ("SIGSTOP", {}, 2)],
    ids=["killed", "killed-fsdp", "stopped"],
)
def test_the_others_stop_and_name_it(name: str, way: dict[str, Any], number: int, port: int, tmp_path: Path) -> None:
    base = str(write_base(tmp_path, "roberta"))
    settings = {"base": base, "output_dir": str(tmp_path / "out"), "ddp_timeout": 5, "save_steps": 2, **way}
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"runs": [{**settings, "signal_at": [6, 1, name]}]}))
    processes = []
    for rank in range(number):  # without a launcher, which would stop the others itself
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1"}
        processes.append(
            subprocess.Popen(
                [sys.executable, str(CASE), str(request)],
                env=environment(MASTER_PORT=str(port), **variables),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    others = [processes[0], *processes[2:]]
    try:
        texts = [process.communicate(timeout=120)[1] for process in others]
        stopped = time.time()
    finally:
        for process in processes:
            process.kill()
        processes[1].communicate()
    for process, said in zip(others, texts, strict=True):
        assert process.returncode not in (0, -signal.SIGKILL), said[-3000:]
        rank = processes.index(process)
        assert f"Process {rank} of {number} lost the others: process 1 died or was stopped" in said
        assert "ConnectionError" in said
    checkpoint = tmp_path / "out" / "checkpoint-4"
    assert checkpoint.is_dir(), "what was saved before is there to go on from"
    assert stopped - (checkpoint / "trainer_state.json").stat().st_mtime < 60, "within a minute"


def test_a_launcher_stops_the_rest(tmp_path: Path) -> None:
    base = str(write_base(tmp_path, "roberta"))
    request = tmp_path / "request.json"
    run = {"base": base, "output_dir": str(tmp_path / "out"), "signal_at": [6, 1, "SIGKILL"]}
    request.write_text(json.dumps({"runs": [run]}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(CASE)]
    ran = subprocess.run(
        [*command, str(request)], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode != 0
    assert "SIGKILL" in ran.stderr
    assert not os.path.exists(tmp_path / "out" / "model.safetensors")
