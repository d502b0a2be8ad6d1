"""Loads adapters with real PEFT and makes new ones; runs in the reference environment.

Each case is a folder with ``base/`` (a bare encoder), ``ours/`` (an adapter of this package), ``inputs.safetensors``
and ``case.json`` (number of labels, target modules, bias). Written are ``logits.safetensors`` with ``ours`` (the
adapter's logits under PEFT), ``card`` (those of the lines in its model card) and ``peft`` (those of an adapter that
PEFT made, saved into ``peft/``), or ``refused.txt`` with PEFT's words where it refuses ours.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from transformers import AutoModelForSequenceClassification


def load_base(folder: Path, num_labels: int) -> torch.nn.Module:
    return AutoModelForSequenceClassification.from_pretrained(
        folder / "base", num_labels=num_labels, attn_implementation="eager", dtype=torch.float32
    )


def logits(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(**inputs).logits.clone()


def model_of_card(folder: Path) -> torch.nn.Module:
    """Do what the adapter's model card says of PEFT."""
    text = (folder / "ours" / "README.md").read_text().partition("## Use with PEFT\n")[2]
    lines = text.partition("```python\n")[2].partition("```")[0]
    space: dict = {}
    exec(lines.replace("path/to/base", str(folder / "base")).replace('"."', repr(str(folder / "ours"))), space)
    return space["model"]


def run_case(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    results = {}
    try:
        model = PeftModel.from_pretrained(load_base(folder, case["num_labels"]), folder / "ours")
        results["ours"] = logits(model, inputs)
        results["card"] = logits(model_of_card(folder), inputs)
    except (KeyError, ValueError) as error:
        (folder / "refused.txt").write_text(f"{type(error).__name__}: {error}")
    torch.manual_seed(7)
    config = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=case["targets"],
        modules_to_save=case["head"],
        task_type="SEQ_CLS",
        bias=case["bias"],
        init_lora_weights=False,
    )
    made = get_peft_model(load_base(folder, case["num_labels"]), config)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    results["peft"] = logits(made, inputs)
    made.save_pretrained(folder / "peft")
    save_file(results, folder / "logits.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
