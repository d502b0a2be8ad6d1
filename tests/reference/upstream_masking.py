"""Runs upstream's collators of masked language modelling many times, and counts what they did."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, DataCollatorForLanguageModeling


def main(folder: str, settings: str, result: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = json.loads(Path(settings).read_text())
    encoded = tokenizer(given["texts"], return_special_tokens_mask=True, return_offsets_mapping=True)
    rows = [{name: encoded[name][row] for name in encoded} for row in range(len(given["texts"]))]
    counts = []
    for options in given["options"]:
        collate = DataCollatorForLanguageModeling(tokenizer, seed=0, **options)
        whole = options.get("whole_word_mask", False)
        used = rows if whole else [{k: v for k, v in row.items() if k != "offset_mapping"} for row in rows]
        counts.append(count(collate, used, tokenizer, given["times"]))
    Path(result).write_text(json.dumps(counts))


def count(collate: Any, rows: list[dict[str, Any]], tokenizer: Any, times: int) -> dict[str, float]:
    hidden = masked = kept = tokens = special = 0
    for row in [row for row in rows for _ in range(times)]:  # one by one: rows with offsets cannot be padded there
        batch = collate([dict(row)])
        chosen, is_special = batch["labels"][0] != -100, row["special_tokens_mask"]
        hidden += int(chosen.sum())
        masked += int((batch["input_ids"][0][chosen] == tokenizer.mask_token_id).sum())
        kept += int((batch["input_ids"][0][chosen] == batch["labels"][0][chosen]).sum())
        tokens += len(is_special) - sum(is_special)
        special += sum(bool(flag) and bool(chosen[place]) for place, flag in enumerate(is_special))
    return {"hidden": hidden / tokens, "masked": masked / hidden, "kept": kept / hidden, "special": special}


if __name__ == "__main__":
    main(*sys.argv[1:])
