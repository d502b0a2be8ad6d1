"""accelerate's offloading: every weight is read through its module, so that it can be brought when it is needed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from head_models import HEADS, make_head, padded_batch
from method_models import BITFIT, HOULSBY, PFEIFFER
from tiny import LORA, shake

METHODS: dict[str, dict[str, Any]] = {"plain": {}, "lora": LORA, "houlsby": HOULSBY, "pfeiffer": PFEIFFER}
CASES = [
    *((family, task, {}) for family, task in HEADS),
    *((family, "sequence-classification", fields) for family in ("roberta", "deberta") for fields in METHODS.values()),
    ("roberta", "sequence-classification", BITFIT),
    ("roberta", "base", {"type_vocab_size": 2}),
    ("deberta", "masked-lm", {"legacy": False, "conv_kernel_size": 0}),
    ("deberta", "sequence-classification", {**LORA, "lora_position_query": True}),
    ("deberta", "sequence-classification", {"embedding_size": 20, "position_biased_input": True}),
]


@pytest.mark.parametrize(("family", "task", "fields"), CASES)
def test_offloaded_models_compute_the_same(family: str, task: str, fields: dict[str, Any], tmp_path: Path) -> None:
    import accelerate

    model, inputs = make_head(family, task, **fields), padded_batch("holes", task)
    shake(model)
    device = torch.device("cpu")
    on_disk = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(**inputs)[0]
        accelerate.cpu_offload(model, execution_device=device)
        accelerate.disk_offload(on_disk, str(tmp_path), execution_device=device)
        assert next(model.parameters()).is_meta
        assert torch.equal(model(**inputs)[0], expected)
        assert torch.equal(on_disk(**inputs)[0], expected)
