"""A short run of every fuzz target, and what the long runs found; the long run is ``scripts/fuzz.sh``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz_described import ANY_JSON, fitting, nearly_fitting
from fuzz_mutations import mutated
from fuzz_readers import TARGETS
from fuzz_run import Damaged, fault_of, run, run_described
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformers.utils.shapes import Record

CORPUS = Path(__file__).parent / "corpus"
RECORDS = {
    f"{name}/{file}": shape for name, target in TARGETS.items() for file, shape in (target.shapes or {}).items()
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_mean_what_they_say(name: str) -> None:
    found = run(name, range(25))
    assert found["inputs"] == 25
    assert not found["faults"], f"{found['faults']}\nrepeat: fuzz_run.py --reader {name} --repeat SEED --keep FOLDER"


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.shapes])
def test_files_made_from_descriptions(name: str) -> None:
    found = run_described(name, 0, 6)
    assert not found["faults"], found["faults"]


@pytest.mark.parametrize("case", sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*")))
def test_what_was_found_before(case: str, tmp_path: Path) -> None:
    """Each case is a folder of files, named ``<target>/<what was wrong>``, that are put over whole ones."""
    target = TARGETS[case.partition("/")[0]]
    target.make(tmp_path)
    target.use(tmp_path)
    shutil.copytree(CORPUS / case, tmp_path, dirs_exist_ok=True)
    with pytest.raises((ValueError, OSError)) as caught:
        target.use(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_descriptions_allow_what_is_made_from_them(record: str, data: st.DataObject) -> None:
    RECORDS[record].check(data.draw(fitting(RECORDS[record])), "it")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(RECORDS)), st.data())
def test_a_check_says_value_error_and_nothing_else(record: str, data: st.DataObject) -> None:
    shape: Record = RECORDS[record]
    value: Any = data.draw(nearly_fitting(shape) | ANY_JSON)
    message = "'file.json'"
    try:
        shape.check(value, "'file.json'")
    except ValueError as error:
        message = str(error)
    assert message.startswith("'file.json'")
    assert len(message) < 2_000


def test_one_seed_is_one_input(tmp_path: Path) -> None:
    whole = json.dumps({"a": [1, {"b": "c"}]}).encode()
    made = [mutated("a.json", whole, Random("x:1")) for _ in range(2)]
    assert made[0] == made[1]
    assert len({mutated("a.json", whole, Random(f"x:{seed}")) for seed in range(50)}) > 25


def test_the_program_finds_all_readers(tmp_path: Path) -> None:
    """The suite has more folders on its path than a command line has."""
    program = Path(__file__).with_name("fuzz_run.py")
    command = [sys.executable, str(program), "--reader", "texts", "--repeat", "3", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[0] in ("accepted", "refused")
    assert (tmp_path / "kept" / "rows.jsonl").is_file()


def test_a_fault_is_seen(tmp_path: Path) -> None:
    target = TARGETS["config-roberta"]
    damaged = Damaged(target, tmp_path)

    def broken(folder: Path) -> None:
        raise KeyError("hidden_size")

    damaged.damage("config-roberta", 3)
    verdict, story = fault_of(type(target)(target.make, target.files, broken), tmp_path)
    assert verdict == "fault"
    assert "KeyError" in (story or "")
