"""The space that a search goes through: which flags of run_glue.py it sets, and to what."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_arguments import DataTrainingArguments, ModelArguments
from launch_flags import Flags
from transformers import TrainingArguments

__all__ = ["DEFAULT_SPACE", "RATIO", "Setting", "Space", "read_space"]

RATIO = "alpha_over_r"
"""Not a flag: ``--lora_alpha`` is this times ``--lora_r``, so that the two can be chosen apart."""

DEFAULT_SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 5e-3, "log": True},
    "lora_r": [4, 8, 16, 32],
    RATIO: [1, 2, 4],
    "lora_target_modules": ["query value", "all-linear"],
    "num_train_epochs": {"low": 2, "high": 6},
    "warmup_ratio": {"low": 0.0, "high": 0.2},
}

# What a search is about, or what would make its trials no longer comparable.
_FIXED = {
    *("model_name_or_path", "output_dir", "task_name", "glue_dataset", "train_file", "validation_file", "test_file"),
    *("do_train", "do_eval", "do_predict", "seed", "max_train_samples", "max_val_samples", "evaluation_strategy"),
    *("resume_from_checkpoint", "overwrite_output_dir", "push_to_hub"),
}
_NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(:log)?")
_NEAR = 0.05  # of the range


@dataclass(frozen=True)
class Setting:
    """One flag and the values that it may have: a range of numbers, or choices.

    Attributes:
        name: The flag's name without its dashes, or `RATIO`.
        low: The range's lower end; an int where only whole numbers are meant. None for choices.
        high: Its upper end.
        log: Whether the range is gone through by factors.
        choices: The values as words of a command line, several in one text with spaces between; empty for a range.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def draw(self, trial: Any) -> str:
        """Let an Optuna trial choose, and give the value as it stands on the command line."""
        if self.choices:
            return str(trial.suggest_categorical(self.name, self.choices))
        if isinstance(self.low, int):
            return str(trial.suggest_int(self.name, self.low, self.high, log=self.log))
        return f"{trial.suggest_float(self.name, self.low, self.high, log=self.log):.4g}"

    def takes(self, value: str) -> bool:
        """Say whether a value lies within."""
        if self.choices:
            return value in self.choices
        return re.fullmatch(_NUMBER, value) is not None and self.low <= float(value) <= self.high

    def first(self) -> str:
        """Give some value that lies within."""
        return self.choices[0] if self.choices else f"{self.low:.4g}"

    def as_drawn(self, value: str) -> Any:
        """Give a value as `draw` would have drawn it."""
        if self.choices:
            return value
        return int(float(value)) if isinstance(self.low, int) else float(value)

    def edge(self, value: str) -> str | None:
        """Say at which end of the space a value lies; None where it lies inside, or nothing lies beyond.

        Args:
            value: As `draw` gives it.
        """
        ends = self.choices or (str(self.low), str(self.high))
        if len(ends) < 2 or not all(re.fullmatch(_NUMBER, end) for end in ends):
            return None
        place = _place_in(float(value), sorted(map(float, ends)), self.log, by_order=bool(self.choices))
        if place <= _NEAR and min(map(float, ends)) > 0:  # below 0 there is nothing to try
            return "lower"
        return "upper" if place >= 1 - _NEAR else None

    def describe(self) -> Any:
        """Give the setting as a YAML file holds it."""
        if self.choices:
            return list(self.choices)
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {})}


def _place_in(value: float, ends: Sequence[float], log: bool, by_order: bool) -> float:
    """Give where a value lies, from 0 at the lower end to 1 at the upper one."""
    if by_order:
        return ends.index(value) / (len(ends) - 1)
    low, high = ends
    if log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


@dataclass(frozen=True)
class Space:
    """All settings of a search."""

    settings: tuple[Setting, ...]

    def draw(self, trial: Any) -> dict[str, str]:
        """Let a trial choose all values."""
        return {setting.name: setting.draw(trial) for setting in self.settings}

    def some_values(self) -> dict[str, str]:
        """Give values that lie within, to see whether the flags fit together."""
        return {setting.name: setting.first() for setting in self.settings}

    def flags_of(self, values: Mapping[str, str], given: Flags) -> Flags:
        """Give the flags that values stand for.

        Args:
            values: By setting.
            given: The flags beside them, which may say ``lora_r``.
        """
        flags = {name: value.split() for name, value in values.items() if name != RATIO}
        if RATIO in values:
            r = (flags.get("lora_r") or given.get("lora_r") or ["8"])[-1]
            flags["lora_alpha"] = [f"{float(values[RATIO]) * int(r):g}"]
        return flags

    def take_given(self, flags: Flags) -> dict[str, str]:
        """Take the flags out that the space sets, and give their values: they are tried first.

        Args:
            flags: The command line's; changed in place.

        Raises:
            ValueError: If one lies outside of the space.
        """
        given = {setting.name: " ".join(flags[setting.name]) for setting in self.settings if setting.name in flags}
        by_name = {setting.name: setting for setting in self.settings}
        if RATIO in by_name and "lora_alpha" in flags:
            r = given.get("lora_r") or (flags.get("lora_r") or [""])[-1]
            alpha = flags.pop("lora_alpha")[-1]
            if re.fullmatch(_NUMBER, alpha) and r.isdecimal() and int(r) > 0:
                given[RATIO] = f"{float(alpha) / int(r):g}"
        for name, value in given.items():
            if not by_name[name].takes(value):
                raise ValueError(
                    f"--{name} {value} lies outside of the space that is searched ({by_name[name].describe()}). "
                    "What is given is tried first: leave it out, or widen the space with --search."
                )
            flags.pop(name, None)
        return given

    def as_drawn(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Give values as Optuna keeps them."""
        return {
            setting.name: setting.as_drawn(values[setting.name]) for setting in self.settings if setting.name in values
        }

    def describe(self) -> dict[str, Any]:
        """Give the space as a YAML file holds it."""
        return {setting.name: setting.describe() for setting in self.settings}


def read_space(entries: Sequence[str], path: str | None, flags: Flags) -> Space:
    """Read the space of a search.

    Args:
        entries: Texts such as ``learning_rate=1e-4:5e-3:log`` or ``lora_r=4,8,16``.
        path: A YAML file; an entry wins over what it says of the same flag.
        flags: The flags beside; the space for LoRA stands where neither of the two is given.

    Raises:
        ValueError: If there is no space, or something in it cannot be read.
        OSError: If the file cannot be read.
    """
    content = _read_yaml(Path(path)) if path is not None else {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not equals or not text:
            raise ValueError(f"--search {entry}: NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C was expected.")
        content[name.strip().removeprefix("--")] = _read_entry(text)
    if not content:
        if "apply_lora" not in flags:
            raise ValueError("the default space is for --apply_lora; say with --search or --space what to search.")
        content = DEFAULT_SPACE
    return Space(tuple(_read_setting(name, value) for name, value in content.items()))


def _read_entry(text: str) -> Any:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return [choice.strip() for choice in text.split(",")]
    return {"low": found[1], "high": found[2], "log": found[3] is not None}


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--space {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"--space {path}: names of flags with their values were expected, as `lora_r: [4, 8, 16]`.")
    return {str(name): value for name, value in content.items()}


def _read_setting(name: str, value: Any) -> Setting:
    known = {
        each.name
        for kind in (ModelArguments, DataTrainingArguments, TrainingArguments)
        for each in dataclasses.fields(kind)
    }
    if name not in known | {RATIO} or name in _FIXED:
        what = "is what the search is about" if name in _FIXED else f"is no flag of run_glue.py (nor {RATIO})"
        raise ValueError(f"'{name}' in the space {what}.")
    if isinstance(value, Mapping):
        return _read_range(name, value)
    choices = value if isinstance(value, list) else [value]
    texts = tuple(" ".join(map(str, item)) if isinstance(item, list) else _plain(item) for item in choices)
    if not texts or len(set(texts)) < len(texts) or "" in texts:
        raise ValueError(f"'{name}' in the space is {value!r}; choices that differ were expected.")
    return Setting(name, choices=texts)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _read_range(name: str, value: Mapping[str, Any]) -> Setting:
    words = f"'{name}' in the space is {dict(value)}; "
    if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise ValueError(f"{words}low, high and perhaps log were expected.")
    ends = [str(value["low"]), str(value["high"])]
    if not all(re.fullmatch(_NUMBER, end) for end in ends) or not isinstance(value.get("log", False), bool):
        raise ValueError(f"{words}two numbers, and true or false for log, were expected.")
    whole = all(re.fullmatch(r"-?\d+", end) for end in ends)
    low, high = (int(end) if whole else float(end) for end in ends)
    if low >= high or (value.get("log") and low <= 0):
        raise ValueError(f"{words}low must be below high, and above 0 for log.")
    return Setting(name, low, high, bool(value.get("log", False)))
