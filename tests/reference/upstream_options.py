"""Adapts, differentiates and trains with real PEFT over real upstream; runs in the reference environment.

Each case is a folder with ``base/`` (a bare encoder), ``options.json`` (arguments of PEFT's ``LoraConfig``, and as
``quantization`` those of ``BitsAndBytesConfig``),
``start.safetensors`` (starting values under PEFT's names; those that are not there are PEFT's own), a file of batches
(``<step>.<input>``) and perhaps ``ours/`` (an adapter of this package). Written is ``results.safetensors`` with the
logits and gradients at the start, the loss of every step, the logits and values at the end, and ``ours``, the logits
of our adapter under PEFT; PEFT saves what it trained into ``peft/``.
"""

import json
import sys
from pathlib import Path

import torch
from bitsandbytes.nn import modules as bitsandbytes_modules
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file

from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig


def load_base(folder: Path) -> torch.nn.Module:
    quantization = json.loads((folder / "options.json").read_text()).get("quantization")
    bitsandbytes_modules.has_avx512bf16 = lambda: False  # its form for such processors fails on narrow layers
    bits = {} if quantization is None else {"quantization_config": BitsAndBytesConfig(**quantization)}
    return AutoModelForSequenceClassification.from_pretrained(
        folder / "base", num_labels=2, attn_implementation="eager", dtype=torch.float32, **bits
    )


def plain_name(name: str) -> str:
    """Give our name for a parameter of PEFT's model."""
    name = name.removeprefix("base_model.model.")
    for inner in (".base_layer", ".modules_to_save.default"):
        name = name.replace(inner, "")
    return name.replace(".default.weight", "").removesuffix(".default").replace("_vector.default", "_vector")


def read_batches(folder: Path) -> list[dict]:
    """Read a case's batches, in the order of the steps."""
    tensors = load_file(folder / "batches.safetensors")
    batches = [{} for _ in range(1 + max(int(name.partition(".")[0]) for name in tensors))]
    for name, value in tensors.items():
        step, _, field = name.partition(".")
        batches[int(step)][field] = value
    return batches


def logits(model: torch.nn.Module, batch: dict) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(**{name: value for name, value in batch.items() if name != "labels"}).logits.clone()


def run_case(folder: Path) -> None:
    options = json.loads((folder / "options.json").read_text())
    ratio = options.pop("loraplus_lr_ratio", None)
    options.pop("quantization", None)
    batches = read_batches(folder)
    torch.manual_seed(7)
    model = get_peft_model(load_base(folder), LoraConfig(**options, task_type="SEQ_CLS"))
    set_peft_model_state_dict(model, load_file(folder / "start.safetensors"))
    takes_from_base = options.get("init_lora_weights") in ("pissa", "olora")
    if takes_from_base:  # as PEFT's documentation wants it, so that the trained adapter fits the published base
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(folder / "initial")
        model.peft_config["default"].init_lora_weights = options["init_lora_weights"]
    results = {"start.logits": logits(model, batches[0])}
    if ratio is None:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    else:
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=5e-4, loraplus_lr_ratio=ratio)
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        loss = model(**batch).loss
        loss.backward()
        if step == 0:
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    results[f"grad.{plain_name(name)}"] = parameter.grad.clone()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    results["losses"] = torch.stack(losses)
    results["logits"] = logits(model, batches[0])
    initial = {"path_initial_model_for_weight_conversion": str(folder / "initial")} if takes_from_base else {}
    model.save_pretrained(folder / "peft", **initial)
    if initial:  # PEFT's conversion forgets what is trained beside LoRA
        weights = folder / "peft" / "adapter_model.safetensors"
        every = {name: value for name, value in get_peft_model_state_dict(model).items() if ".lora_" not in name}
        save_file({**every, **load_file(weights)}, weights)
    if (folder / "ours").is_dir():
        ours = PeftModel.from_pretrained(load_base(folder), folder / "ours")
        results["ours"] = logits(ours, batches[0])
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, folder / "results.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
