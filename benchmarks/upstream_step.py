"""One side of a step benchmark: LoRA training steps with upstream Transformers and PEFT, in the reference environment.

Arguments: a saved encoder's folder, and settings as JSON (``device``, ``dtype``, ``threads``, ``seed``, ``r``,
``alpha``, ``targets``, ``head``). Each line of standard input names a file with one batch and asks for one step on it
(forward, backward, AdamW); the answer is a JSON line: ``seconds``, ``cpu_seconds``, ``loss``, ``peak_bytes`` so far.
One line with versions comes first. bf16 is autocast, as upstream's Trainer does it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import peft
import torch
from safetensors.torch import load_file

import transformers
from step_memory import peak_bytes


def main(model_folder: str, settings: str) -> None:
    """Load, then run a step whenever asked."""
    options: dict[str, Any] = json.loads(settings)
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    device: str = options["device"]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        model_folder, num_labels=2, dtype=torch.float32
    )
    lora = peft.LoraConfig(
        task_type="SEQ_CLS",
        r=options["r"],
        lora_alpha=options["alpha"],
        target_modules=options["targets"],
        modules_to_save=options["head"],
    )
    model = peft.get_peft_model(model, lora)
    model.to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device == "cuda")
    autocast = options["dtype"] != "float32"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    print(json.dumps({**versions, "trained": sum(p.numel() for p in trained)}), flush=True)
    for line in sys.stdin:
        batch = load_file(line.strip(), device=device)
        if device == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        answer = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        answer["loss"] = float(loss.detach())
        answer["peak_bytes"] = peak_bytes(device)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
