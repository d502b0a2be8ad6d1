"""Makes adapters with real PEFT over checkpoints with and without heads; runs in the reference environment.

The argument is a folder with ``<case>/base`` and ``<case>/case.json``: the Auto class, PEFT's task type and its
``modules_to_save``. Written are ``<case>/peft`` (the adapter) and ``<case>/outputs.safetensors`` (the first output on
``inputs.safetensors``). Cases with ``weights`` get two adapters, ``peft`` and ``peft/other``, and the outputs of
PEFT's ``add_weighted_adapter`` by combination type.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import transformers


def run_case(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    torch.manual_seed(3)
    auto = getattr(transformers, case["auto"])
    plain = auto.from_pretrained(folder / "base", attn_implementation="eager", dtype=torch.float32)
    config = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=case["targets"],
        modules_to_save=case["modules_to_save"],
        task_type=case["task_type"],
        init_lora_weights=False,
    )
    model = get_peft_model(plain, config, adapter_name="default")
    inputs = load_file(folder / "inputs.safetensors")
    model.eval()
    with torch.no_grad():
        outputs = {"default": model(**inputs)[0].clone()}
        if case.get("weights"):
            model.add_adapter("other", LoraConfig(**{**config.to_dict(), "lora_alpha": 2}))
            for kind in ("linear", "cat", "svd"):
                model.add_weighted_adapter(["default", "other"], case["weights"], kind, combination_type=kind)
                model.set_adapter(kind)
                outputs[kind] = model(**inputs)[0].clone()
    names = [name for name in ("default", "other") if name in model.peft_config]
    model.save_pretrained(folder / "peft", selected_adapters=names)
    save_file(outputs, folder / "outputs.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case_folder in sorted(Path(sys.argv[1]).iterdir()):
        run_case(case_folder)
