"""Adapts every head with every LoRA option, by real PEFT over real upstream; runs in the reference environment.

Each case is a folder as `heads_and_options.py` writes it: ``case.json`` (the class, its base, PEFT's task type, the
number of steps), ``options.json`` (arguments of PEFT's ``LoraConfig``), ``trained.safetensors`` (starting values of
all that is trained, under our names; LoRA's are PEFT's own where they are not there) and the batches. Written is
``results.safetensors``: outputs and gradients at the start, losses, outputs at the end.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from upstream_options import plain_name, read_batches

import transformers

OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state")
LABELS = ("labels", "start_positions", "end_positions")


def outputs(model: torch.nn.Module, batch: dict, when: str) -> dict:
    model.eval()
    with torch.no_grad():
        found = model(**{name: value for name, value in batch.items() if name not in LABELS})
    return {f"{when}.{name}": found[name].clone() for name in OUTPUTS if name in found}


def run_case(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    options = json.loads((folder / "options.json").read_text())
    ratio = options.pop("loraplus_lr_ratio", None)
    batches = read_batches(folder)
    found = getattr(transformers, case["class"])
    plain = found.from_pretrained(case["base"], attn_implementation="eager", dtype=torch.float32)
    torch.manual_seed(7)
    model = get_peft_model(plain, LoraConfig(**options, task_type=case["task_type"]))
    trained = load_file(folder / "trained.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "original_module" not in name and plain_name(name) in trained:
                parameter.requires_grad_(True)
                parameter.copy_(trained[plain_name(name)])
    results = outputs(model, batches[0], "start")
    if ratio is None:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    else:
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=5e-4, loraplus_lr_ratio=ratio)
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        output = model(**batch)
        loss = output["loss"] if output.get("loss") is not None else summed(output["last_hidden_state"], batch)
        loss.backward()
        if step == 0:
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    results[f"grad.{plain_name(name)}"] = parameter.grad.clone()
        if case["steps"]:
            optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    results["losses"] = torch.stack(losses)
    results |= outputs(model, batches[0], "end")
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, folder / "results.safetensors")


def summed(states: torch.Tensor, batch: dict) -> torch.Tensor:
    """Give the loss of a bare encoder, as head_models.py makes it."""
    waves = torch.arange(states.numel()).sin().view_as(states)
    return (states * batch["attention_mask"][..., None] * waves).sum()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
