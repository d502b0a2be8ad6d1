"""Runs a launcher: its values, on the devices that there are, for one seed or several.

The launchers (``<model>_<task>.sh``) call it with their name, the flags of the original's launcher, those that the
paper's table has otherwise, and the user's. Read `main`: values, adapter to start from, devices, commands.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from glue_runs import ROOT
from launch_batch import Batch, split_batch
from launch_flags import Flags, choose_profile, is_on, merge, parse_flags, take_number, to_words
from launch_start import find_adapter
from launch_summary import write_summary
from launch_task import RUN_GLUE, Task, find_task

HELP = """\
usage: bash {name}.sh [--profile script|paper] [--global_batch_size N] [flags of run_glue.py, which win]

  --profile script        the values of the original's launcher (default)
  --profile paper         those of the LoRA paper's table where it has others
  --start_from none       MRPC, RTE, STS-B: start from the model itself, not from the MNLI adapter
  --global_batch_size N   examples per optimizer step over all devices; what each device takes at once, and how often
                          gradients are accumulated, follow from it
environment:
  NUM_GPUS        how many GPUs to use (default: all; 0 computes on the CPU)
  SEEDS           several seeds, such as "0 1 2 3 4": a run each, then median and spread
  OUTPUT_DIR      folder of all launchers' results (default: {root}/output)
  LORA_ADAPTERS   folder with the published adapters (*_lora_mnli.bin)
  MODEL           a local folder, or another name, in place of the model
  GLUE_DATASET    a local folder in place of the hub's nyu-mll/glue
  TASKS, SQUAD    of lora_from_scratch.sh: which tasks, and the folder with SQuAD's files
  DRY_RUN         1 prints what would run, and runs nothing
  LORA_PYTHON     the Python to run with

All other flags: python {run_glue} --help"""


@dataclass(frozen=True)
class Devices:
    """What to compute on.

    Attributes:
        processes: How many processes; one for each GPU.
        gpu: Whether they are GPUs.
    """

    processes: int
    gpu: bool

    def __str__(self) -> str:
        if self.gpu:
            return f"{self.processes} GPU{'s' if self.processes > 1 else ''}"
        return f"CPU, {self.processes} process{'es' if self.processes > 1 else ''}"


def main(words: Sequence[str]) -> int:
    """Run a launcher.

    Args:
        words: Its name, its flags and the paper's as one word each, and the user's.

    Returns:
        The exit code: 0; 2 where the input cannot be used; else that of the run that failed.
    """
    name, script, paper, *user_words = words
    if {"--help", "-h"} & set(user_words):
        print(HELP.format(name=name, root=ROOT, run_glue=RUN_GLUE))
        return 0
    try:
        user = parse_flags(user_words)
        profile = user.pop("profile", ["script"])
        flags, lines = choose_profile(parse_flags(shlex.split(script)), shlex.split(paper), profile)
        flags = merge(merge(flags, _flags_of_environment()), user)
        task = find_task(flags)
        folder = _output_folder(name, flags)
        lines += _start_from_adapter(flags, folder.parent)
        devices = find_devices(flags)
        lines.append(f"devices  {devices}")
        lines += _set_batch(flags, user, devices) + _fit_to_devices(flags, user, devices)
        _add_shared(flags, task)
        runs = _runs(flags, user, folder)
    except ValueError as error:
        print(f"{name}.sh: error: {error}", file=sys.stderr)
        return 2
    print(f"{name}: {task.title}")
    print("\n".join([*(f"  {line}" for line in lines), f"  output   {folder}"]), flush=True)
    return _run_all({run: _command(task.script, run_flags, devices) for run, run_flags in runs.items()}, folder, flags)


# Values -----------------------------------------------------------------------------------------------------------


def _flags_of_environment() -> Flags:
    named = {"MODEL": "model_name_or_path", "GLUE_DATASET": "glue_dataset"}
    return {flag: [os.environ[variable]] for variable, flag in named.items() if os.environ.get(variable)}


def _output_folder(name: str, flags: Flags) -> Path:
    if "output_dir" in flags:
        return Path(*flags["output_dir"]).absolute()
    return Path(os.environ.get("OUTPUT_DIR") or ROOT / "output").absolute() / name


def _start_from_adapter(flags: Flags, outputs: Path) -> list[str]:
    """Put in the adapter that the run starts from, where it starts from one."""
    launcher = flags.pop("start_from", None)
    if launcher is None or "lora_path" in flags:
        return []
    if launcher == ["none"]:
        return ["starts   from the model itself, not from MNLI's adapter as the original does"]
    path = find_adapter(launcher[0], outputs)
    flags["lora_path"] = [str(path)]
    return [f"starts   from {path}"]


def _add_shared(flags: Flags, task: Task) -> None:
    """Put in what all launchers do: train, evaluate, and end with the best evaluation's weights, as the paper does."""
    flags.setdefault("do_train", [])
    flags.setdefault("do_eval", [])
    if flags.get("evaluation_strategy") != ["no"]:
        flags.setdefault("load_best_model_at_end", [])
        flags.setdefault("metric_for_best_model", [task.main_metric])
        flags.setdefault("save_total_limit", ["2"])


# Devices ----------------------------------------------------------------------------------------------------------


def find_devices(flags: Flags) -> Devices:
    """Find out what to compute on: ``NUM_GPUS``, or all GPUs there are, or the CPU.

    With ``--no_cuda``, ``NUM_GPUS`` is the number of processes on the CPU.

    Raises:
        ValueError: If ``NUM_GPUS`` is no number, or more than there are.
    """
    asked = os.environ.get("NUM_GPUS")
    if asked and not asked.isdecimal():
        raise ValueError(f"NUM_GPUS is '{asked}'; 0, 1, 2 … was expected.")
    if is_on(flags, "no_cuda"):
        return Devices(max(1, int(asked or 1)), gpu=False)
    if asked and (int(asked) == 0 or _dry_run()):
        return Devices(max(1, int(asked)), gpu=int(asked) > 0)
    found = _count_gpus()
    if asked and int(asked) > found:
        raise ValueError(
            f"NUM_GPUS is {asked}, but this machine shows {found}. Give a smaller number, or --no_cuda for as many "
            "processes on the CPU."
        )
    number = int(asked) if asked else found
    return Devices(max(1, number), gpu=number > 0)


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _dry_run() -> bool:
    return os.environ.get("DRY_RUN", "0") not in ("", "0")


def _set_batch(flags: Flags, user: Flags, devices: Devices) -> list[str]:
    """Put in what each device takes at once and how often gradients are accumulated."""
    planned = take_number(flags, "global_batch_size")
    usual = take_number(flags, "per_device_train_batch_size")
    fixed_size = usual if "per_device_train_batch_size" in user else None
    fixed_steps = take_number(flags, "gradient_accumulation_steps") if "gradient_accumulation_steps" in user else None
    if fixed_size and fixed_steps and "global_batch_size" not in user:
        batch, lines = Batch(fixed_size, devices.processes, fixed_steps), []
        if batch.total != planned:
            lines = [f"NOTE     the global batch is {batch.total}, as your flags say, not this launcher's {planned}"]
    else:
        batch, lines = split_batch(planned, devices.processes, usual, fixed_size, fixed_steps), []
    flags["per_device_train_batch_size"] = [str(batch.per_device)]
    flags["gradient_accumulation_steps"] = [str(batch.accumulation)]
    return [f"batch    {batch}", *lines]


def _fit_to_devices(flags: Flags, user: Flags, devices: Devices) -> list[str]:
    """Let a launcher that was written for GPUs run on a CPU."""
    if devices.gpu:
        return []
    flags.setdefault("no_cuda", [])
    if not is_on(flags, "fp16") or "fp16" in user:
        return []
    del flags["fp16"]
    flags["bf16"] = []
    return ["NOTE     fp16 needs a GPU; --bf16 in its place"]


# Commands ---------------------------------------------------------------------------------------------------------


def _runs(flags: Flags, user: Flags, folder: Path) -> dict[Path, Flags]:
    """Give the flags of each run by its output folder: one run, or one for each of ``SEEDS``."""
    seeds = os.environ.get("SEEDS", "").split()
    if not seeds:
        return {folder: {**flags, "output_dir": [str(folder)]}}
    if "seed" in user:
        raise ValueError(f"--seed {' '.join(user['seed'])} and SEEDS='{' '.join(seeds)}' are both given; choose one.")
    wrong = [seed for seed in seeds if not seed.isdecimal() or seeds.count(seed) > 1]
    if wrong:
        raise ValueError(f"SEEDS is '{' '.join(seeds)}': different whole numbers were expected, like '0 1 2 3 4'.")
    folders = {seed: folder / f"seed-{seed}" for seed in seeds}
    return {path: {**flags, "seed": [seed], "output_dir": [str(path)]} for seed, path in folders.items()}


def _command(script: Path, flags: Flags, devices: Devices) -> list[str]:
    """Give the whole command; several processes meet at a port that torchrun finds free."""
    start = [sys.executable]
    if devices.processes > 1 or "deepspeed" in flags:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(devices.processes)]
    return [*start, str(script), *to_words(flags)]


def _run_all(commands: Mapping[Path, list[str]], folder: Path, flags: Flags) -> int:
    """Run the commands one after the other, and summarize where there were several seeds."""
    environment = dict(os.environ)
    if is_on(flags, "use_deterministic_algorithms"):
        environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # without it cuBLAS is not repeatable
        environment.setdefault("PYTHONHASHSEED", "0")
    for run, command in commands.items():
        print(f"  command  {shlex.join(command)}\n", flush=True)
        if _dry_run():
            continue
        code = _call(command, environment)
        if code != 0:
            print(f"The run {run} ended with exit code {code}.", file=sys.stderr)
            return code
    if not _dry_run() and list(commands) != [folder]:
        print(write_summary(folder, list(commands)))
    return 0


def _call(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; what would stop this process stops that one."""
    process = subprocess.Popen(command, env=environment)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has sent it to that process too
        return process.wait() or 130
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
