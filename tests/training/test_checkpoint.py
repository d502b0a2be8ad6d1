"""Checkpoints are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers.trainer_utils import get_last_checkpoint
from transformers.training.checkpoint import (
    MANIFEST_NAME,
    TornCheckpointError,
    clear_leftovers,
    find_last_checkpoint,
    list_checkpoints,
    rotate_checkpoints,
    verify_checkpoint,
    writing_checkpoint,
)
from transformers.training.checkpoint_state import capture_rng_state, load_tree, restore_rng_state, save_tree

SOURCE = Path(__file__).resolve().parents[2] / "src"


def write(output_dir: Path, step: int, content: str = "values") -> Path:
    folder = output_dir / f"checkpoint-{step}"
    with writing_checkpoint(folder) as partial:
        (partial / "weights").write_text(f"{content} {step}")
        (partial / "part").mkdir()
        (partial / "part" / "more").write_text("more")
    return folder


def test_a_sealed_checkpoint_is_found_by_its_step(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        write(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-20", "checkpoint-100"]
    assert get_last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-100")
    manifest = json.loads((tmp_path / "checkpoint-9" / MANIFEST_NAME).read_text())
    assert set(manifest["files"]) == {"weights", "part/more"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_scratch_folder_that_could_not_be_removed_is_not_sealed_in(tmp_path: Path) -> None:
    """A disk's fault while it is removed is only warned of, and a sealed checkpoint is never cleared."""
    with writing_checkpoint(tmp_path / "checkpoint-1") as partial:
        (partial / "weights").write_text("values")
        scratch = partial / f".weights.{'0' * 32}.tmp"
        scratch.mkdir()
        (scratch / "half").write_text("half")
    assert sorted(path.name for path in (tmp_path / "checkpoint-1").iterdir()) == [MANIFEST_NAME, "weights"]


def test_no_checkpoint_is_none_and_no_folder_an_error(tmp_path: Path) -> None:
    assert get_last_checkpoint(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError, match="no folder"):
        get_last_checkpoint(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "missing", "no manifest", "broken manifest"])
def test_a_torn_checkpoint_is_passed_over(damage: str, tmp_path: Path) -> None:
    write(tmp_path, 10)
    folder = write(tmp_path, 20)
    weights, manifest = folder / "weights", folder / MANIFEST_NAME
    if damage == "shorter":
        weights.write_text("v")
    elif damage == "other bytes":
        weights.write_text("walues 20")
    elif damage == "missing":
        (folder / "part" / "more").unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:20])
    with pytest.raises(TornCheckpointError, match="checkpoint-20"):
        verify_checkpoint(folder)
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_a_failure_while_writing_leaves_the_earlier_one(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path, 10, "old")

    def fail_halfway() -> None:
        with writing_checkpoint(tmp_path / "checkpoint-10") as partial:
            (partial / "weights").write_text("half")
            raise error

    with pytest.raises(OSError if isinstance(error, OSError) else type(error)):
        fail_halfway()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    verify_checkpoint(tmp_path / "checkpoint-10")
    assert (tmp_path / "checkpoint-10" / "weights").read_text() == "old 10"


def test_a_really_full_disk_loses_nothing_and_is_named(tmp_path: Path) -> None:
    """A file-size limit makes real writes fail in a real process, as a full disk does."""
    write(tmp_path, 10)
    script = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from safetensors.torch import save_file\n"
        "from transformers.training.checkpoint import writing_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    with writing_checkpoint(Path(sys.argv[1], 'checkpoint-20')) as partial:\n"
        "        save_file({'weights': torch.zeros(100_000)}, partial / 'model.safetensors')\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "checkpoint-20' could not be written" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    verify_checkpoint(tmp_path / "checkpoint-10")


@pytest.mark.parametrize("moment", ["while writing", "before the seal", "before the rename", "between the renames"])
def test_a_kill_at_any_moment_loses_nothing(moment: str, tmp_path: Path) -> None:
    write(tmp_path, 10, "old")
    write(tmp_path, 5)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from transformers.training import checkpoint\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "moment, folder = sys.argv[2], Path(sys.argv[1], 'checkpoint-10')\n"
        "rename = Path.rename\n"
        "if moment == 'before the seal': checkpoint._seal = die\n"
        "if moment == 'before the rename': checkpoint._put_in_place = die\n"
        "if moment == 'between the renames':\n"
        "    Path.rename = lambda self, to: (die() if 'partial' in self.name else rename(self, to))\n"
        "with checkpoint.writing_checkpoint(folder) as partial:\n"
        "    (partial / 'weights').write_text('new')\n"
        "    if moment == 'while writing': die()\n"
    )
    done = run(script, tmp_path, moment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    verify_checkpoint(tmp_path / "checkpoint-10")
    assert (tmp_path / "checkpoint-10" / "weights").read_text() == "old 10"
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, 10, "old")
    write(tmp_path, 10, "new")
    assert (tmp_path / "checkpoint-10" / "weights").read_text() == "new 10"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


@given(st.sets(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 9), st.data())
@settings(max_examples=25, deadline=None)
def test_rotation_keeps_the_best_and_the_newest(steps: set[int], limit: int, data: st.DataObject) -> None:
    import tempfile

    best = data.draw(st.sampled_from(sorted(steps)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in steps:
            write(folder, step)
        rotate_checkpoints(folder, limit, folder / f"checkpoint-{best}")
        left = [int(path.name.split("-")[1]) for path in list_checkpoints(folder)]
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert {best, max(steps)} <= set(left)
    kept_for_sure = len({best, max(steps)})
    assert len(left) == (len(steps) if limit == 0 else min(len(steps), max(limit, kept_for_sure)))
    others = sorted(steps - {best, max(steps)})
    dropped = steps - set(left)
    assert dropped == set(others[: len(dropped)])  # the oldest go first


def test_no_limit_keeps_all(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    assert rotate_checkpoints(tmp_path, None) == []
    assert len(list_checkpoints(tmp_path)) == 3


numbers = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=8)
)
trees = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers(0, 9)), inner, max_size=3),
        st.just("__tensor__").flatmap(lambda key: st.dictionaries(st.just(key), inner, max_size=1)),
    ),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=100, deadline=None)
def test_a_tree_of_plain_values_comes_back_as_it_was(tree: Any) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save_tree(tree, folder, "state")
        assert load_tree(folder, "state") == tree
        assert not Path(folder, "state.safetensors").exists()


def test_tensors_of_every_kind_come_back_bit_by_bit(tmp_path: Path) -> None:
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
    tree = {
        "tensors": [torch.randint(0, 2, (3, 2)).to(dtype) for dtype in dtypes],
        0: {"step": torch.tensor(3.0), "strided": torch.arange(6.0).view(2, 3).t(), "empty": torch.zeros(0, 4)},
        "array": np.arange(4, dtype=np.uint32),
        "number": np.float64(0.1),
    }
    save_tree(tree, tmp_path, "state")
    loaded = load_tree(tmp_path, "state")
    for before, after in zip(tree["tensors"], loaded["tensors"], strict=True):  # type: ignore[arg-type]
        assert before.dtype == after.dtype  # type: ignore[attr-defined]
        assert torch.equal(before, after)  # type: ignore[arg-type]
    for name, value in tree[0].items():  # type: ignore[index]
        assert torch.equal(value, loaded[0][name])
    assert loaded["array"].tolist() == [0, 1, 2, 3]
    assert loaded["number"] == 0.1


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"object \(at 'a\.0'\)"):
        save_tree({"a": [object()]}, tmp_path, "state")


def test_an_optimizer_s_state_comes_back(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_tree(optimizer.state_dict(), tmp_path, "optimizer")
    loaded = load_tree(tmp_path, "optimizer")
    expected = optimizer.state_dict()
    assert loaded["param_groups"] == expected["param_groups"]  # the betas are a tuple again
    for number, state in expected["state"].items():
        assert all(torch.equal(value, loaded["state"][number][name]) for name, value in state.items())


def test_random_generators_go_on_where_they_were(tmp_path: Path) -> None:
    device = torch.device("cpu")

    def draw() -> list[float]:
        return [
            random.random(),
            random.gauss(0, 1),
            float(np.random.rand()),
            float(np.random.randn()),
            float(torch.rand(1)),
        ]

    draw()
    save_tree([capture_rng_state(device)], tmp_path, "rng_state")
    expected = [draw(), draw()]
    torch.manual_seed(7)
    random.seed(7)
    restore_rng_state(load_tree(tmp_path, "rng_state")[0], device)
    assert [draw(), draw()] == expected


def test_nothing_here_unpickles(tmp_path: Path) -> None:
    for name in ("training/checkpoint", "training/checkpoint_state", "training/saving", "trainer"):
        text = (SOURCE / "transformers" / f"{name}.py").read_text()
        assert "torch.load(" not in text
        assert "import pickle" not in text
