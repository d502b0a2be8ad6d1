"""Runs upstream on the cases that a test has laid out; runs in the reference environment.

Each case is a folder with ``case.json`` (``class``, ``mode``, ``labels``), ``model/`` (a saved model) and
``inputs.safetensors``. Its outputs and gradients go to ``outputs.safetensors``; the model is saved again, by upstream,
into ``upstream/``.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import transformers


def loss_of(result, inputs: dict) -> torch.Tensor:
    if result.get("loss") is not None:
        return result["loss"]
    # sums of squares would say nothing: normalised states have a fixed length
    waves = torch.arange(result.last_hidden_state.numel()).sin().view_as(result.last_hidden_state)
    return (result.last_hidden_state * inputs["attention_mask"][..., None] * waves).sum()


def run_case(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    model_class = getattr(transformers, case["class"])
    model, info = model_class.from_pretrained(
        folder / "model", attn_implementation="eager", output_loading_info=True, dtype=torch.float32
    )
    strange = [name for name in info["unexpected_keys"] if "lora" not in name]
    wrong = [*info["missing_keys"], *strange, *info["mismatched_keys"]]
    assert not wrong, info
    inputs = load_file(folder / "inputs.safetensors")
    outputs = {}
    model.eval()
    with torch.no_grad():
        result = model(**inputs, output_hidden_states=True, output_attentions=True)
    for name in ("logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output", "loss"):
        if result.get(name) is not None:
            outputs[name] = result[name]
    outputs |= {f"hidden_states.{n}": value for n, value in enumerate(result.hidden_states)}
    outputs |= {f"attentions.{n}": value for n, value in enumerate(result.attentions)}
    model.train()
    result = model(**inputs, output_hidden_states=True, output_attentions=True)
    for name in ("hidden_states", "attentions"):
        gradients = torch.autograd.grad(loss_of(result, inputs), result[name], retain_graph=True)
        outputs |= {f"grad_of_{name}.{n}": value for n, value in enumerate(gradients)}
    loss_of(model(**inputs), inputs).backward()
    outputs |= {f"grad.{name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file(
        {name: value.detach().contiguous().clone() for name, value in outputs.items()}, folder / "outputs.safetensors"
    )
    model.save_pretrained(folder / "upstream")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
