"""environment.yml and the Dockerfiles: readable as conda, pip and Docker read them, and really installable."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EDITABLE = "-e .[demo,deepspeed]"
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "LABEL", "RUN", "USER", "WORKDIR"}


@pytest.fixture(scope="module")
def environment() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    return content


def conda_part(environment: dict[str, Any]) -> list[str]:
    return [item for item in environment["dependencies"] if isinstance(item, str)]


def pip_part(environment: dict[str, Any]) -> list[str]:
    """Give the lines for pip, without the project's own."""
    (section,) = [item for item in environment["dependencies"] if isinstance(item, dict)]
    assert list(section) == ["pip"]
    lines: list[str] = section["pip"]
    assert lines[-1] == EDITABLE, "the project itself comes last"
    return lines[:-1]


def pins(environment: dict[str, Any]) -> dict[str, Version]:
    """Give the version that each package is pinned to."""
    requirements = [Requirement(line) for line in pip_part(environment)]
    found = {}
    for requirement in requirements:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} is not pinned"
        assert requirement.url is None
        assert not requirement.extras
        found[normal(requirement.name)] = Version(specifier.version)
    assert len(found) == len(requirements), "a package is pinned twice"
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> dict[str, Requirement]:
    """Give what the installed project asks for: always, for the demo and for DeepSpeed."""
    lines = importlib.metadata.requires("transformers") or []
    asked = {}
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("demo", "deepspeed")):
            asked[normal(requirement.name)] = requirement
    return asked


# environment.yml ------------------------------------------------------------------------------------------------


def test_conda_reads_it(environment: dict[str, Any]) -> None:
    assert set(environment) == {"name", "channels", "dependencies"}
    for channel in environment["channels"]:
        rattler.Channel(channel)
    specs = {
        spec.name.normalized: spec for spec in (rattler.MatchSpec(s, strict=True) for s in conda_part(environment))
    }
    assert set(specs) == {"python", "pip"}
    for line in conda_part(environment):
        assert re.fullmatch(r"[a-z]+=\d+(\.\d+)+", line), f"{line} is not pinned"
    python = Version(str(specs["python"].version).removesuffix(".*"))
    assert python.release[:2] == (3, 11)
    assert python in Requirement(f"python{importlib.metadata.metadata('transformers')['Requires-Python']}").specifier


def test_every_dependency_is_pinned_within_its_range(environment: dict[str, Any]) -> None:
    found, asked = pins(environment), required()
    assert set(found) == set(asked)
    for name, requirement in asked.items():
        assert found[name] in requirement.specifier, f"{name} {found[name]} is outside of '{requirement}'"


def test_the_docs_list_every_pin(environment: dict[str, Any]) -> None:
    rows = {
        normal(cells[1].strip(" `")): cells[3].strip()
        for line in (ROOT / "docs" / "environment.md").read_text().splitlines()
        if len(cells := line.split("|")) == 6
    }
    for name, version in pins(environment).items():
        assert rows[name] == str(version)
    for line in conda_part(environment):
        name, _, text = line.partition("=")
        assert rows[name] == text


@pytest.mark.slow
def test_the_pip_part_installs_and_works_together(environment: dict[str, Any], tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"  # an editable install writes beside the sources
    checkout.mkdir()
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    (checkout / "requirements.txt").write_text("\n".join([*pip_part(environment), EDITABLE, ""]))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: str) -> str:
        done = subprocess.run([python, *words], cwd=checkout, capture_output=True, text=True, check=False, env=outside)
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    run("-m", "pip", "install", "--quiet", "--no-compile", "--requirement", "requirements.txt")  # as conda does
    run("-m", "pip", "check")
    installed = {normal(row["name"]): row["version"] for row in json.loads(run("-m", "pip", "list", "--format=json"))}
    for name, version in pins(environment).items():
        assert Version(installed[name]).public == str(version)
    assert "+lora" in installed["transformers"]
    run("-c", "import transformers, loralib, deepspeed; from transformers import Trainer, AutoModel")
    shutil.rmtree(tmp_path / "venv")  # 1.6 GB


# Dockerfiles ----------------------------------------------------------------------------------------------------


def instructions(name: str) -> list[tuple[str, str]]:
    """Read a Dockerfile into instructions and what follows them."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line.strip() and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in whole.splitlines())
    return [(instruction, rest) for instruction, rest in pairs]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_says_only_what_docker_knows(name: str) -> None:
    found = instructions(name)
    assert {instruction for instruction, _ in found} <= INSTRUCTIONS
    assert found[0] == ("FROM", "python:3.11-slim-bookworm")
    for instruction, rest in found:
        if instruction == "RUN":
            checked = subprocess.run(["sh", "-n", "-c", rest], capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stderr
        if instruction == "CMD":
            assert isinstance(json.loads(rest), list)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_a_dockerfile_copies_exists_and_is_not_ignored(name: str) -> None:
    copied = [rest.split()[:-1] for instruction, rest in instructions(name) if instruction == "COPY"]
    sources = {source for words in copied for source in words}
    for source in sources:
        assert (ROOT / source).exists(), source
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_takes_its_pins_from_environment_yml(name: str, environment: dict[str, Any]) -> None:
    (run,) = [rest for instruction, rest in instructions(name) if "environment.yml" in rest and instruction == "RUN"]
    command = run.split(">")[0]
    assert command.startswith("sed ")
    found = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == pip_part(environment)
