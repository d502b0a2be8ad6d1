"""run_glue.py under every launcher; N processes give what one gives, and only the first writes and prints."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from forked import Forks
from glue_case import BIN, ROOT, SCRIPT, TORCHRUN, launch

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
    TrainingArguments,
)

pytestmark = pytest.mark.slow

LORA = ["--apply_lora", "--lora_r", 2, "--lora_alpha", 4]
QUIET = ["--report_to", "none", "--disable_tqdm", "true"]
TRAINING = [
    *LORA,
    "--do_train",
    "--do_eval",
    "--do_predict",
    "--num_train_epochs",
    2,
    "--learning_rate",
    5e-3,
    *QUIET[2:],
]
HEAD = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def _launchers(port: int) -> dict[str, tuple[list[str], list[object], dict[str, str]]]:
    """Give each launcher's words, further flags of the script, and variables of the environment."""
    two, at = "--nproc_per_node=2", f"--master_port={port}"
    accelerate = [str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
    accelerate += ["--mixed_precision=no", "--dynamo_backend=no", f"--main_process_port={port}"]
    zero2 = ["--deepspeed", ROOT / "scripts" / "ds_config.json"]
    return {
        "torch.distributed.launch": ([sys.executable, "-m", "torch.distributed.launch", two, at], [], {}),
        "torchrun": ([str(BIN / "torchrun"), two, at], [], {}),
        "accelerate": (accelerate, [], {"ACCELERATE_USE_CPU": "1"}),
        "deepspeed": ([str(BIN / "deepspeed"), "--num_gpus=2", at], zero2, {}),
    }


@pytest.fixture(scope="module")
def steady(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint without dropout, whose random numbers differ between one process and several."""
    folder = tmp_path_factory.mktemp("steady") / "model"
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, **HEAD)
    model.base_model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def alone(steady: Path, mrpc: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes, with the same 8 examples a step."""
    output = tmp_path_factory.mktemp("alone") / "out"
    flags = ["--model_name_or_path", steady, "--task_name", "mrpc", "--glue_dataset", mrpc, *TRAINING]
    flags += ["--per_device_train_batch_size", 8, "--logging_steps", 1, "--output_dir", output, *_reports(output)]
    ran = forks.run(SCRIPT, *flags)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return output


def _reports(output: Path) -> list[object]:
    return ["--report_to", "tensorboard", "--logging_dir", output / "logs"]


def _results(output: Path) -> dict[str, float]:
    found = json.loads((output / "all_results.json").read_text())
    timed = ("runtime", "per_second", "mem_", "minutes")
    return {name: value for name, value in found.items() if not any(word in name for word in timed)}


@pytest.mark.parametrize("launcher", ["torch.distributed.launch", "torchrun", "accelerate", "deepspeed"])
def test_two_processes_give_what_one_gives(
    launcher: str, steady: Path, mrpc: Path, alone: Path, port: int, tmp_path: Path
) -> None:
    if importlib.util.find_spec(launcher.partition(".")[0]) is None and launcher == "deepspeed":
        pytest.skip("needs deepspeed: pip install -e '.[deepspeed]'")
    words, further, variables = _launchers(port)[launcher]
    output = tmp_path / "out"
    flags = ["--model_name_or_path", steady, "--task_name", "mrpc", "--glue_dataset", mrpc, *TRAINING, *further]
    flags += ["--per_device_train_batch_size", 4, "--logging_steps", 1, "--output_dir", output, *_reports(output)]
    ran = launch(words, flags, tmp_path / "cache", **variables)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "4 per device x 2 processes" in ran.stderr
    assert "bytes of gradients" in ran.stderr

    found, expected = _results(output), _results(alone)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # operations at padding count, and each process pads its own part of a batch
        tolerance = {"rel": 0.1} if name == "total_flos" else {"abs": 1e-5}
        assert found[name] == pytest.approx(value, **tolerance), name
    losses = [
        [
            entry["loss"]
            for entry in json.loads((folder / "trainer_state.json").read_text())["log_history"]
            if "loss" in entry
        ]
        for folder in (output, alone)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert (output / "MRPC.tsv").read_bytes() == (alone / "MRPC.tsv").read_bytes()
    assert {path.name for path in output.iterdir()} == {path.name for path in alone.iterdir()}
    events = [sum(path.is_file() for path in (folder / "logs").rglob("*")) for folder in (output, alone)]
    assert events[0] == events[1] > 0, "one process reports"
    assert ran.stdout.count("***** eval metrics *****") == 1, "only the first process prints"
    assert ran.stdout.count("trained / all values") == 1


@pytest.mark.parametrize("spelling", ["--local-rank=0", "--local_rank=0"])
def test_both_spellings_of_the_local_rank(spelling: str) -> None:
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses(["--output_dir", "out", spelling])
    assert args.local_rank == 0


def _deberta(folder: Path, checkpoint: Path) -> Path:
    """Write a tiny DeBERTa with the tiny tokenizer."""
    fields = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
    own = json.loads((checkpoint / "config.json").read_text())
    names = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "pad_token_id",
    )
    config = AutoConfig.for_model(
        "deberta-v2", **fields, **{name: own[name] for name in names}, tokenizer_class="BertTokenizer"
    )
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())
    return folder


@pytest.mark.parametrize("kind", ["roberta", "deberta"])
def test_the_original_s_readme(
    kind: str, checkpoint: Path, mrpc: Path, port: int, forks: Forks, tmp_path: Path
) -> None:
    base = checkpoint if kind == "roberta" else _deberta(tmp_path / "deberta", checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(base, apply_lora=True, lora_r=16, lora_alpha=32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_()
    trained = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    torch.save(trained, tmp_path / "lora.bin")
    # The command line as it stands there, with MRPC in the place of MNLI; and where the data set is.
    launcher = [sys.executable, "-m", "torch.distributed.launch", "--nproc_per_node=1", f"--master_port={port}"]
    flags = ["--model_name_or_path", base, "--lora_path", tmp_path / "lora.bin", "--task_name", "mrpc", "--do_eval"]
    flags += ["--output_dir", tmp_path / "output", "--apply_lora", "--lora_r", 16, "--lora_alpha", 32]
    flags += ["--glue_dataset", mrpc]
    by_launcher = kind == "roberta"  # it does the same for the other
    ran = launch(launcher, flags, tmp_path / "cache") if by_launcher else forks.run(SCRIPT, *flags)
    assert ran.returncode == 0, ran.stderr[-3000:]
    results = json.loads((tmp_path / "output" / "eval_results.json").read_text())
    assert results["eval_samples"] == 13
    assert 0 <= results["eval_accuracy"] <= 1


# Bad input ------------------------------------------------------------------------------------------------------


def _last_line(ran_stderr: str) -> str:
    return [line for line in ran_stderr.splitlines() if "error:" in line][-1]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}, "did not find the others"),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "starts only one where it computes on the CPU"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "give --bf16 to the script"),
        ({"ACCELERATE_USE_FSDP": "true"}, "--fsdp full_shard"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "--deepspeed FILE"),
    ],
    ids=["alone-of-two", "accelerate-on-cpu", "accelerate-precision", "accelerate-fsdp", "accelerate-deepspeed"],
)
def test_what_a_launcher_gets_wrong(
    variables: dict[str, str], message: str, checkpoint: Path, mrpc: Path, port: int, forks: Forks, tmp_path: Path
) -> None:
    flags = ["--model_name_or_path", checkpoint, "--task_name", "mrpc", "--glue_dataset", mrpc, "--do_eval", *QUIET]
    flags += ["--output_dir", tmp_path / "out", "--ddp_timeout", 3]
    ran = forks.run(SCRIPT, *flags, MASTER_PORT=str(port), **variables)
    assert ran.returncode == 2, ran.stderr[-3000:]
    assert message in _last_line(ran.stderr)
    assert "Traceback" not in ran.stderr


def test_a_port_in_use(checkpoint: Path, mrpc: Path, port: int, forks: Forks, tmp_path: Path) -> None:
    import socket

    flags = ["--model_name_or_path", checkpoint, "--task_name", "mrpc", "--glue_dataset", mrpc, "--do_eval", *QUIET]
    flags += ["--output_dir", tmp_path / "out", "--ddp_timeout", 10]
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        variables = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        ran = forks.run(SCRIPT, *flags, MASTER_PORT=str(port), **variables)
        assert ran.returncode == 2, ran.stderr[-3000:]
        assert f"127.0.0.1:{port}: another program uses this port" in _last_line(ran.stderr)
        assert "Traceback" not in ran.stderr
        by_launcher = launch([*TORCHRUN, "--nproc_per_node=2", f"--master_port={port}"], flags, tmp_path / "cache")
        assert by_launcher.returncode != 0, "torchrun says so itself, before it starts anything"
        assert str(port) in by_launcher.stderr
        assert os.strerror(98).lower() in by_launcher.stderr.lower()
