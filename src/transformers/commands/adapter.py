"""``transformers-cli adapter``: show, check, convert and merge LoRA adapters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from ..adapters.legacy import save_legacy_adapter
from ..adapters.merging import largest_difference
from ..adapters.reading import AdapterContent, read_adapter
from ..modeling_utils import PreTrainedModel
from ..models.auto.tokenization_auto import TOKENIZER_PARTS
from ..utils.writing import write_bytes

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Add ``adapter`` and its four verbs to the command line."""
    parser = commands.add_parser("adapter", help="show, check, convert and merge LoRA adapters")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    show = verbs.add_parser("show", help="print what an adapter says of itself")
    show.set_defaults(run=run_show)

    check = verbs.add_parser("check", help="verify hashes, shapes, finite values and the base; exit code 1 if not")
    check.set_defaults(run=run_check)

    convert = verbs.add_parser("convert", help="turn an original .bin into a folder, or a folder into a .bin")
    convert.set_defaults(run=run_convert)

    merge = verbs.add_parser("merge", help="write a plain checkpoint with the adapter folded in")
    merge.set_defaults(run=run_merge)

    for verb in (show, check, convert, merge):
        verb.add_argument("adapter", metavar="ADAPTER", help="a folder, a hub id, or an original .bin file")
        verb.add_argument("--lora_alpha", type=float, help="alpha of an original file that was not published")
    for verb in (check, convert, merge):
        verb.add_argument("--base", help="the base: a folder or hub id, where it is not where the adapter says")
    convert.add_argument("target", metavar="TARGET", help="a new folder, or a new file that ends in .bin")
    merge.add_argument("target", metavar="TARGET", help="a new folder")


def run_show(options: argparse.Namespace) -> int:
    """Print what an adapter says of itself."""
    content = read_adapter(options.adapter).with_alpha(options.lora_alpha)
    lora = {name: tensor for name, tensor in content.tensors.items() if ".lora_" in name}
    head = {name: tensor for name, tensor in content.tensors.items() if name not in lora}
    labels = ", ".join(f"{number} {name}" for number, name in (content.id2label or {}).items())
    rows = {
        "adapter": content.source,
        "for PEFT": "yes" if content.peft_type in (None, "LORA") else f"no: {content.peft_type}",
        "base": content.base or "(not said)",
        "base sha256": content.base_sha256 or "(not said)",
        **({} if content.quantization is None else {"trained over": str(content.quantization)}),
        "r, alpha, scaling": f"{content.r}, {content.alpha:g}, {content.alpha / content.r:g}",
        "dropout": f"{content.lora_dropout:g}",
        "LoRA": f"{len(lora)} matrices, {_count(lora):,} values",
        "head": f"{len(head)} tensors, {_count(head):,} values",
        "labels": labels or "(not said)",
        "task": content.finetuning_task or "(not said)",
        **_position_query(content),
        "problem type": content.problem_type or "(by the labels)",
    }
    for name, value in rows.items():
        print(f"{name:18} {value}")
    return 0


def _position_query(content: AdapterContent) -> dict[str, str]:
    """Say what relative positions go through, of an adapter for DeBERTa: RoBERTa has none."""
    if not any(".query_proj." in name for name in content.tensors):
        return {}
    return {"position query": "adapted, as PEFT's" if content.position_query else "the base's, as the original's"}


def _count(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def run_check(options: argparse.Namespace) -> int:
    """Verify an adapter, and that it fits its base."""
    try:
        content = read_adapter(options.adapter).with_alpha(options.lora_alpha)
    except ValueError as error:
        print(f"not ok  {' '.join(str(error).split())}")
        return 1
    print(f"ok      {content.source} is whole: r {content.r}, alpha {content.alpha:g}")
    print(f"ok      {len(content.tensors)} tensors, all values finite")
    try:
        _load(options, content)
    except ValueError as error:
        print(f"not ok  {' '.join(str(error).split())}")
        return 1
    print(f"ok      it fits its base {options.base or content.base}")
    return 0


def _load(options: argparse.Namespace, content: AdapterContent) -> PreTrainedModel:
    """Load the base, in fp32, and the adapter over it."""
    from ..models.auto.modeling_auto import AutoModelForSequenceClassification

    base = options.base or content.base
    if not base:
        raise ValueError(f"'{content.source}' does not say which base it belongs to; give it with --base.")
    fields: dict[str, Any] = {} if content.id2label is None else {"id2label": content.id2label}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(base, **fields)
    model.load_adapter(options.adapter, lora_alpha=options.lora_alpha)
    return model


def run_convert(options: argparse.Namespace) -> int:
    """Turn an original file into a folder that describes itself, or a folder into an original file."""
    target = _new(options.target)
    content = read_adapter(options.adapter).with_alpha(options.lora_alpha)
    if target.suffix == ".bin":
        save_legacy_adapter(content.tensors, target)
        print(f"Written: {target}. It says neither alpha ({content.alpha:g}) nor labels nor base.")
        return 0
    model = _load(options, content)
    model.save_adapter(target)
    print(f"Written: {target}")
    return 0


def run_merge(options: argparse.Namespace) -> int:
    """Write a plain checkpoint with the adapter folded in, and say by how much its outputs differ."""
    target = _new(options.target)
    content = read_adapter(options.adapter).with_alpha(options.lora_alpha)
    merged = _load(options, content).merge_and_unload()
    difference = largest_difference(_load(options, content), merged)
    merged.save_pretrained(target)
    for folder in (options.adapter, options.base or content.base or ""):
        _copy_tokenizer(Path(folder), target)
    print(f"Written: {target}, a plain {type(merged).__name__}; largest difference of a logit: {difference:.2e}")
    return 0


def _copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files of a local folder that are not there yet."""
    for name in TOKENIZER_PARTS:
        if (source / name).is_file() and not (target / name).exists():
            write_bytes(target / name, (source / name).read_bytes())


def _new(path: str) -> Path:
    """Refuse a target that would be written over."""
    target = Path(path)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"'{target}' exists already; give a new name.")
    return target
