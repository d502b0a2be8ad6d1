"""PEFT's side of `mixed_batches.py`, in the reference environment: batches whenever asked, mixed or row by row.

Arguments: the base's folder, a folder of adapters, a JSON file with batches (``inputs``, lists of ids and masks, and
``names``), the number of threads. Each line of standard input is a batch's number, and ``switching`` behind it where
the model is to be switched to each row's adapter and compute that row alone; the answer is a line of JSON: ``seconds``
and ``logits``, of a batch that was mixed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import peft
import torch

import transformers
from row_by_row import switch_through


def main(base: str, adapters: str, batches: str, threads: str) -> None:
    """Load, then compute whenever asked."""
    torch.set_num_threads(int(threads))
    plain = transformers.AutoModelForTokenClassification.from_pretrained(base, num_labels=2)
    names = sorted(path.name for path in Path(adapters).iterdir())
    model = peft.PeftModel.from_pretrained(plain, str(Path(adapters, names[0])), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(str(Path(adapters, name)), name)
    model.eval()
    rows = json.loads(Path(batches).read_text(encoding="utf-8"))
    versions = {"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__}
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        number, *way = line.split()
        batch = rows[int(number)]
        if way:
            print(json.dumps({"seconds": switch_through(model, batch)}), flush=True)
            continue
        inputs = {name: torch.tensor(values) for name, values in batch["inputs"].items()}
        begin = time.perf_counter()
        with torch.inference_mode():
            logits = model(**inputs, adapter_names=batch["names"]).logits
        print(json.dumps({"seconds": time.perf_counter() - begin, "logits": logits.tolist()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
