"""One side of a step benchmark: LoRA training steps with upstream Transformers and PEFT, in the reference environment.

Arguments: a saved encoder's folder, a file with one batch, and settings as JSON (``dtype``, ``threads``, ``seed``, ``r``,
``alpha``, ``targets``, ``head``). Each line of standard input asks for one step (forward, backward, AdamW); the answer is
a line of JSON with ``seconds``, ``loss`` and ``peak_rss_bytes`` so far. bf16 is autocast, as upstream's Trainer does it.
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification


def main(model_folder: str, batch_file: str, settings: str) -> None:
    """Load, then run a step whenever asked."""
    options = json.loads(settings)
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=2, dtype=torch.float32)
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=options["r"],
        lora_alpha=options["alpha"],
        target_modules=options["targets"],
        modules_to_save=options["head"],
    )
    model = get_peft_model(model, lora)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    batch = load_file(batch_file)
    dtype = getattr(torch, options["dtype"])
    for _ in sys.stdin:
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        answer = {"seconds": time.perf_counter() - begin, "loss": float(loss)}
        answer["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
