"""Records what the package computes, so that two commits can be held against each other bit by bit.

    python benchmarks/same_outputs.py record before.json     # on the old commit (PYTHONPATH=…/src)
    python benchmarks/same_outputs.py record after.json      # on the new one
    python benchmarks/same_outputs.py compare before.json after.json

Recorded are, for tiny models of fixed seeds, sha256 sums of logits, losses and gradients in evaluation and training,
under several masks, in fp32 and bf16; the bytes of the tensors of saved adapters; and the weights after a short run of
the Trainer. One thread, CPU. Public names alone are used, so the script runs on old commits too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
}
DEBERTA: dict[str, Any] = {
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}
LORA = {"apply_lora": True, "lora_r": 4, "lora_alpha": 8}
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": LORA,
    "lora-dropout": {**LORA, "lora_dropout": 0.2},
    "houlsby": {"apply_adapter": True, "adapter_type": "houlsby", "adapter_size": 8},
    "bitfit": {"apply_bitfit": True},
    "rdrop": {**LORA, "reg_loss_wgt": 1.0, "consistency": "rdrop"},
}


def sha256(tensor: Tensor) -> str:
    """Hash a tensor's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:24]


def masks() -> dict[str, Tensor]:
    """Make a mask of each kind. Shape of each: (6, 17)."""
    right = torch.ones(6, 17, dtype=torch.long)
    for row, length in enumerate((17, 5, 11, 3, 9, 16)):
        right[row, length:] = 0
    holes = right.clone()
    holes[:, 4:6] = 0
    return {"whole": torch.ones_like(right), "right": right, "left": right.flip(1), "holes": holes}


def shake(model: torch.nn.Module) -> None:
    """Give trained parameters other values than their starting ones, zero for some."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def models(folder: Path) -> Iterator[tuple[str, torch.nn.Module]]:
    """Make every model that is recorded."""
    import transformers as T

    families = {
        "roberta": (T.RobertaConfig, T.RobertaModel, SHAPE),
        "deberta": (T.DebertaV2Config, T.DebertaV2Model, {**SHAPE, **DEBERTA}),
    }
    for family, (config_class, encoder_class, shape) in families.items():
        torch.manual_seed(1)
        base = folder / family
        encoder_class(config_class(**shape)).save_pretrained(base)
        for method, changes in METHODS.items():
            for dtype in ("float32", "bfloat16"):
                torch.manual_seed(2)
                model = T.AutoModelForSequenceClassification.from_pretrained(
                    base, num_labels=3, **changes, dtype=dtype
                )
                shake(model)
                yield f"{family} {method} {dtype}", model
        torch.manual_seed(2)
        masked = T.AutoModelForMaskedLM.from_pretrained(base)
        yield f"{family} masked-lm", masked


def record_model(name: str, model: torch.nn.Module, folder: Path) -> dict[str, str]:
    """Record outputs and gradients under every mask, and the adapter's tensors."""
    from safetensors.torch import load_file

    found: dict[str, str] = {}
    ids = torch.randint(5, SHAPE["vocab_size"], (6, 17), generator=torch.Generator().manual_seed(4))
    labels = ids if "masked-lm" in name else torch.tensor([0, 1, 2, 0, 1, 2])
    for mask_name, mask in masks().items():
        for mode in ("eval", "train"):
            model.train(mode == "train")
            model.zero_grad()
            torch.manual_seed(5)
            output = model(input_ids=ids, attention_mask=mask, labels=labels)
            output.loss.backward()
            found[f"{name}: {mask_name}: {mode}: logits"] = sha256(output.logits)
            found[f"{name}: {mask_name}: {mode}: loss"] = sha256(output.loss)
            for path, parameter in model.named_parameters():
                if parameter.grad is not None:
                    found[f"{name}: {mask_name}: {mode}: gradient of {path}"] = sha256(parameter.grad)
    if getattr(model.config, "freezes_base", False):
        model.save_adapter(folder / "saved")
        for file in sorted((folder / "saved").glob("*.safetensors")):
            for path, tensor in load_file(file).items():
                found[f"{name}: saved {path}"] = sha256(tensor)
            file.unlink()
    return found


def record_training(folder: Path) -> dict[str, str]:
    """Record the weights after a short run of the Trainer."""
    import transformers as T

    found: dict[str, str] = {}
    for family in ("roberta", "deberta"):
        torch.manual_seed(2)
        model = T.AutoModelForSequenceClassification.from_pretrained(folder / family, num_labels=3, **LORA)
        generator = torch.Generator().manual_seed(6)
        rows = [
            {"input_ids": torch.randint(5, 97, (3 + row % 9,), generator=generator).tolist(), "label": row % 3}
            for row in range(48)
        ]

        def collate(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
            longest = max(len(row["input_ids"]) for row in batch)
            padded = [row["input_ids"] + [1] * (longest - len(row["input_ids"])) for row in batch]
            mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch]
            return {
                "input_ids": torch.tensor(padded),
                "attention_mask": torch.tensor(mask),
                "labels": torch.tensor([row["label"] for row in batch]),
            }

        arguments = T.TrainingArguments(
            output_dir=str(folder / "run"), num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-2,
            save_strategy="no", report_to=[], disable_tqdm=True, seed=7,
        )  # fmt: skip
        trainer = T.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
        trainer.train()
        for path, parameter in model.named_parameters():
            if parameter.requires_grad:
                found[f"{family}: after training: {path}"] = sha256(parameter)
    return found


def record(path: Path) -> None:
    """Record everything into a JSON file."""
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, model in models(folder):
            found |= record_model(name, model, folder)
        found |= record_training(folder)
    path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    print(f"{len(found)} tensors recorded in {path}")


def compare(first: Path, second: Path) -> int:
    """Print what differs between two files, and how much is the same."""
    before, after = json.loads(first.read_text()), json.loads(second.read_text())
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in differing[:20]:
        print(f"differs: {name}")
    print(f"{len(before)} tensors before, {len(after)} after, {len(differing)} differ")
    return 1 if differing else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    if options.what == "record" and len(options.files) == 1:
        record(options.files[0])
        return 0
    if options.what == "compare" and len(options.files) == 2:
        return compare(*options.files)
    parser.error("record takes one file, compare takes two")
    return 2


if __name__ == "__main__":
    sys.exit(main())
