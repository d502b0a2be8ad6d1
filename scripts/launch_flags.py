"""Flags of a launcher: the profile's, the environment's, the user's, and which of them wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Flags", "choose_profile", "is_on", "merge", "parse_flags", "take_number", "to_words"]

Flags = dict[str, list[str]]
"""Values by the flag's name without its dashes; no values for a flag that stands alone."""

OTHER_NAMES = {
    "eval_strategy": "evaluation_strategy",
    "use_cpu": "no_cuda",
    "full_determinism": "use_deterministic_algorithms",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
}
EXCLUSIVE = ({"warmup_ratio", "warmup_steps"}, {"fp16", "bf16"})
PROFILES = ("script", "paper")
NO_TABLE = ["none"]


def parse_flags(words: Sequence[str]) -> Flags:
    """Read words of a command line.

    Args:
        words: ``--name value``, ``--name=value`` or ``--name``; hyphens in a name count as underscores.

    Returns:
        The flags; of one that is given twice, the last.

    Raises:
        ValueError: If a word belongs to no flag.
    """
    flags: Flags = {}
    values: list[str] | None = None
    for word in words:
        if not word.startswith("--"):
            if values is None:
                raise ValueError(f"'{word}' belongs to no flag; flags begin with --.")
            values.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        values = [value] if equals else []
        flags[OTHER_NAMES.get(name, name)] = values
    return flags


def merge(base: Flags, over: Flags) -> Flags:
    """Let some flags win over others, and over those that say the same thing in another way.

    Args:
        base: The flags that lose.
        over: The flags that win.
    """
    dropped = {other for group in EXCLUSIVE if group & set(over) for other in group - set(over)}
    return {**{name: values for name, values in base.items() if name not in dropped}, **over}


def is_on(flags: Mapping[str, list[str]], name: str) -> bool:
    """Say whether a truth value is given and true."""
    return name in flags and (not flags[name] or flags[name][-1].lower() in ("true", "yes", "t", "y", "1"))


def take_number(flags: Flags, name: str) -> int:
    """Take a flag with a whole number out.

    Raises:
        ValueError: If it is not a whole number of at least 1.
    """
    values = flags.pop(name)
    if len(values) != 1 or not values[0].isdecimal() or int(values[0]) < 1:
        raise ValueError(f"--{name} is '{' '.join(values)}'; one whole number of at least 1 was expected.")
    return int(values[0])


def to_words(flags: Flags) -> list[str]:
    """Turn flags into words of a command line."""
    return [word for name, values in flags.items() for word in (f"--{name}", *values)]


def choose_profile(script: Flags, paper_words: Sequence[str], profile: Sequence[str]) -> tuple[Flags, list[str]]:
    """Choose between the values of the original's launcher and the paper's.

    Args:
        script: The original's values.
        paper_words: Flags that the paper's table has otherwise; the one word ``none`` where it does not have the run.
        profile: ``script`` or ``paper``.

    Returns:
        The chosen flags, and lines for the user: the profile, and where the other one differs.

    Raises:
        ValueError: If there is no such profile.
    """
    name = " ".join(profile)
    if name not in PROFILES:
        raise ValueError(f"--profile is '{name}'; choose from {', '.join(PROFILES)}.")
    if list(paper_words) == NO_TABLE:
        if name == "paper":
            raise ValueError("the paper's table does not have this run; use --profile script.")
        return script, ["profile  script: the values of this launcher (the paper's table does not have this run)"]
    paper = parse_flags(paper_words)
    both = {"script": script, "paper": merge(script, paper)}
    other = PROFILES[1 - PROFILES.index(name)]
    whose = {"script": "the original launcher's values", "paper": "the paper's table"}
    lines = [f"profile  {name}: {whose[name]}"]
    differences = _differences(both[name], both[other])
    if not differences:
        return both[name], [f"{lines[0]}; {whose[other]} are the same".replace("table are", "table is")]
    return both[name], [*lines, *(f"           {line} with --profile {other}" for line in differences)]


def _differences(chosen: Flags, other: Flags) -> list[str]:
    """Say which flags differ, as ``--name value; --name value``."""
    names = [name for name in {**chosen, **other} if chosen.get(name) != other.get(name)]
    lines = []
    for name in names:
        here = f"--{name} {' '.join(chosen[name])}" if name in chosen else f"no --{name}"
        there = " ".join(other[name]) if name in other else "none"
        lines.append(f"{here}; {there}")
    return lines
