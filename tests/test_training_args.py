"""``TrainingArguments``: defaults as in 4.4.2, both names of everything, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from transformers.hf_argparser import HfArgumentParser
from transformers.training_args import ParallelMode, TrainingArguments

API = Path(os.environ.get("LORA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def fields_of_4_4_2() -> dict[str, str]:
    path = API / "microsoft-lora" / "api-4.4.2.json"
    if not path.is_file():
        pytest.skip(f"the list of 4.4.2's names is not at {path}; set LORA_SHARED_DATA to its folder")
    listed: dict[str, str] = json.loads(path.read_text())["training_args"]["TrainingArguments"]["fields"]
    del listed["_n_gpu"]  # no argument there either
    return listed


def test_fields_order_and_defaults_are_those_of_4_4_2(tmp_path: Path) -> None:
    listed = fields_of_4_4_2()
    ours = {item.name: item.default for item in fields(TrainingArguments)}
    assert list(ours)[: len(listed)] == list(listed)
    for name, text in listed.items():
        expected = text.split(" = ")[1] if " = " in text else "<required>"
        if expected == "<required>":
            assert ours[name] is dataclasses.MISSING
        elif expected == "default_logdir":
            assert os.path.basename(os.path.dirname(TrainingArguments(str(tmp_path)).logging_dir or "")) == "runs"
        else:
            assert ours[name] == eval(expected), name  # literals of our own list


@pytest.mark.parametrize(
    ("older", "newer", "value"),
    [
        ("evaluation_strategy", "eval_strategy", "epoch"),
        ("no_cuda", "use_cpu", True),
        ("use_deterministic_algorithms", "full_determinism", True),
    ],
)
def test_both_names_are_arguments_and_attributes(older: str, newer: str, value: object) -> None:
    for name in (older, newer):
        args = TrainingArguments("out", **{name: value})
        assert getattr(args, older) == getattr(args, newer) == value
        assert name in inspect.signature(TrainingArguments).parameters
    with pytest.raises(TypeError, match="two names of one argument"):
        TrainingArguments("out", **{older: value, newer: value})
    setattr(args, newer, getattr(TrainingArguments("out"), older))
    assert getattr(args, older) == getattr(TrainingArguments("out"), older)


def test_copies_are_equal_and_changes_stick() -> None:
    args = TrainingArguments("out", eval_strategy="steps", logging_dir="logs")
    assert copy.deepcopy(args) == pickle.loads(pickle.dumps(args)) == dataclasses.replace(args) == args
    assert dataclasses.replace(args, evaluation_strategy="no").eval_strategy == "no"
    assert TrainingArguments(**args.to_dict()) == args


def test_derived_classes_keep_the_other_names() -> None:
    @dataclass
    class Mine(TrainingArguments):
        own: int = 1

    args = Mine("out", eval_strategy="epoch", own=2)
    assert (args.evaluation_strategy, args.own) == ("epoch", 2)


def test_what_follows_from_other_values() -> None:
    args = TrainingArguments("out", eval_strategy="steps", logging_steps=7, load_best_model_at_end=True)
    assert (args.eval_steps, args.do_eval, args.metric_for_best_model, args.greater_is_better) == (
        7,
        True,
        "loss",
        False,
    )
    assert TrainingArguments("out", metric_for_best_model="f1").greater_is_better is True
    assert TrainingArguments("out").do_eval is False
    assert TrainingArguments("out", adafactor=True).optim == "adafactor"
    assert TrainingArguments("out", per_gpu_train_batch_size=3).train_batch_size == 3
    assert TrainingArguments("out", lr_scheduler_kwargs='{"power": 2}').lr_scheduler_kwargs == {"power": 2}


@pytest.mark.parametrize(
    ("given", "steps"),
    [({}, 0), ({"warmup_ratio": 0.06}, 7), ({"warmup_steps": 5, "warmup_ratio": 0.5}, 5), ({"warmup_steps": 0.1}, 11)],
)
def test_warmup_steps(given: dict[str, float], steps: int) -> None:
    assert TrainingArguments("out", **given).get_warmup_steps(101) == steps


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0; it must be at least 1"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5"),
        ({"warmup_steps": 2.5}, "whole number"),
        ({"label_smoothing_factor": 1.0}, "label_smoothing_factor"),
        ({"num_train_epochs": -1}, "num_train_epochs"),
        ({"evaluation_strategy": "sometimes"}, "'sometimes' is not a valid IntervalStrategy"),
        ({"lr_scheduler_type": "linaer"}, "linear"),
        ({"load_best_model_at_end": True}, "evaluation_strategy"),
        ({"fp16": True, "bf16": True}, "choose one"),
        ({"fp16": True, "no_cuda": True}, "--bf16"),
        ({"fp16_backend": "apex"}, "apex"),
        ({"report_to": ["tensorbored"]}, "choose none, all, or some of tensorboard, wandb"),
        ({"deepspeed": "ds_config.json"}, "DeepSpeed"),
        ({"past_index": 2}, "past_index"),
        ({"save_safetensors": False}, "pickles"),
    ],
)
def test_what_cannot_work_is_refused_in_words(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingArguments("out", **given)


def test_fp16_without_a_gpu_suggests_bf16() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=r"fp16 needs a GPU.*--bf16"):
        TrainingArguments("out", fp16=True)


def test_reports() -> None:
    assert TrainingArguments("out").report_to == ["tensorboard"]  # tensorboardX is one of the package's requirements
    assert TrainingArguments("out", report_to="none").report_to == []
    assert TrainingArguments("out", report_to=["none"]).report_to == []
    assert TrainingArguments("out", report_to=[]).report_to == []
    assert "tensorboard" in TrainingArguments("out", report_to="all").report_to


def test_dicts_for_json_and_for_reports() -> None:
    args = TrainingArguments("out", eval_strategy="epoch", label_names=["labels"])
    assert json.loads(args.to_json_string())["evaluation_strategy"] == "epoch"
    sanitized = args.to_sanitized_dict()
    assert all(type(value) in (bool, int, float, str) for value in sanitized.values())
    assert (sanitized["train_batch_size"], sanitized["label_names"]) == (8, "['labels']")


def test_what_4_4_2_could_and_this_cannot_is_taken_at_its_neutral_value(tmp_path: Path) -> None:
    neutral = {"tpu_num_cores": None, "tpu_metrics_debug": False, "debug": False, "sharded_ddp": ""}
    for name, value in neutral.items():
        assert getattr(TrainingArguments("out", **{name: value}), name) == value
        with pytest.raises(ValueError, match=f"{name} is 1: .* Leave it out"):
            TrainingArguments("out", **{name: 1})
    TrainingArguments("out", debug="", sharded_ddp=False)  # as other versions have them


def test_the_json_that_4_4_2_writes_is_read(tmp_path: Path) -> None:
    written: dict[str, object] = {}
    for name, text in fields_of_4_4_2().items():
        written[name] = None if "<required>" in text or "default_logdir" in text else eval(text.split(" = ")[1])
    written |= {"output_dir": "out", "logging_dir": "runs/x"}
    written |= {"_n_gpu": 0, "sharded_ddp": [], "report_to": ["tensorboard"], "do_eval": False, "eval_steps": 500}
    path = tmp_path / "training_args.json"
    path.write_text(json.dumps(written))
    (read,) = HfArgumentParser(TrainingArguments).parse_json_file(path)
    (given,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses([str(path)])
    assert read == given == TrainingArguments("out", logging_dir="runs/x", eval_steps=500, sharded_ddp=[])


def test_the_device_of_one_process() -> None:
    args = TrainingArguments("out", no_cuda=True, per_device_train_batch_size=4, gradient_accumulation_steps=3)
    assert args.device == torch.device("cpu")
    assert (args.n_gpu, args.world_size, args.process_index, args.local_rank) == (0, 1, 0, -1)
    assert args.parallel_mode is ParallelMode.NOT_PARALLEL
    assert args.global_batch_size == 12
    assert ParallelMode.TPU is not args.parallel_mode is not ParallelMode.SAGEMAKER_DISTRIBUTED


def test_the_inner_names_that_scripts_of_4_4_2_use() -> None:
    args = TrainingArguments("out", no_cuda=True)
    assert args._setup_devices == args.device
    args._n_gpu = 1  # "do not spread the model over several GPUs", which never happens here
    assert args._n_gpu == args.n_gpu == 0
    with pytest.raises(ValueError, match="one GPU"):
        args._n_gpu = 2


def test_the_launcher_s_local_rank_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert TrainingArguments("out").local_rank == 3


def test_a_token_is_in_no_record_of_the_arguments(tmp_path: Path) -> None:
    arguments = TrainingArguments(str(tmp_path), hub_token="hf_secretsecretsecretsecret")
    for written in (arguments.to_json_string(), str(arguments.to_dict()), str(arguments.to_sanitized_dict())):
        assert "hf_secret" not in written
        assert "<HUB_TOKEN>" in written
    assert TrainingArguments(str(tmp_path)).to_dict()["hub_token"] is None


def test_what_accelerate_forgets_is_found_again(tmp_path: Path) -> None:
    """Notebooks reset its state between two trainings; its object for the process is then an empty one."""
    args = TrainingArguments(str(tmp_path), no_cuda=True, report_to="none")
    assert args.device.type == "cpu"
    AcceleratorState._reset_state(reset_partial_state=True)
    assert PartialState._shared_state == {}
    assert args.device.type == "cpu"
    assert (args.world_size, args.process_index) == (1, 0)
    PartialState._shared_state["device"] = torch.device("meta")  # another choice, made by somebody else
    assert args.device.type == "cpu"
