"""One side of a step benchmark: LoRA training steps with this package, one for each line of standard input.

Arguments, lines and answers are those of `upstream_step.py`, its counterpart.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from safetensors.torch import load_file

from step_memory import peak_bytes
from transformers import AutoModelForSequenceClassification
from transformers.kernels.calls import use_kernels
from transformers.training.batches import to_device
from transformers.training.heap import keep_freed_memory


def main(model_folder: str, settings: str) -> None:
    """Load, then run a step whenever asked."""
    options: dict[str, Any] = json.loads(settings)
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    device: str = options["device"]
    model = AutoModelForSequenceClassification.from_pretrained(
        model_folder,
        num_labels=2,
        apply_lora=True,
        lora_r=options["r"],
        lora_alpha=options["alpha"],
        **options["own_fields"],
    )
    if options["dtype"] != "float32":
        model.cast_frozen_parameters(getattr(torch, options["dtype"]))
    model.to(device).train()
    keep_freed_memory(model)  # this and kernels as the Trainer does
    use_kernels(device == "cpu")
    steps: Any = None
    if options["cuda_graphs"]:
        from transformers.training.graphed_steps import GraphedSteps  # older sources, which may be compared, lack it

        steps = GraphedSteps(model, lambda inputs: model(**inputs).loss)
    one = torch.ones((), device=device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device == "cuda")
    print(json.dumps({"torch": torch.__version__, "trained": model.num_parameters(only_trainable=True)}), flush=True)
    for line in sys.stdin:
        batch = to_device(load_file(line.strip()), torch.device(device))  # lengths stay known on the CPU
        if device == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        if steps is None:
            loss = model(**batch).loss
            loss.backward()
        else:
            loss = steps.run(batch, one)
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
