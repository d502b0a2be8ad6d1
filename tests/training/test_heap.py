"""A step finds the memory of the step before it again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import LORA, run_python, write_base
from torch import nn

from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig
from transformers.training.heap import keep_freed_memory

needs_glibc = pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another C library than GNU's")

# Buffers of 200 MB, as those of a batch of long texts, given back all at once after every step.
STEPS = """
import resource, sys, torch
from transformers import RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments

def page_faults():
    for step in range(4):
        buffers = [torch.ones(5_000_000 * size) for size in (1, 4, 1, 4)]
        del buffers
        if step == 0:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

config = RobertaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
data = [{"input_ids": [5, 6, 7], "labels": 0}] * 4
args = TrainingArguments(sys.argv[2], max_steps=1, report_to="none", save_strategy="no", disable_tqdm=True)
trainer = Trainer(RobertaForSequenceClassification(config), args, train_dataset=data, eval_dataset=data)
before = page_faults()
getattr(trainer, sys.argv[1])()
print(before, page_faults())
"""


def _page_faults(what: str, folder: Path, **environment: str) -> tuple[int, int]:
    """Count the page faults of three steps before and after a method of the Trainer was called."""
    before, after = run_python(STEPS, what, folder, **environment).split()[-2:]
    return int(before), int(after)


@needs_glibc
@pytest.mark.parametrize("what", ["train", "evaluate"])
def test_memory_that_was_freed_is_taken_again_without_a_page_fault(what: str, tmp_path: Path) -> None:
    before, after = _page_faults(what, tmp_path)
    assert before > 50_000
    assert after < before / 2  # most often none, now and then one buffer's: two fifths at most


@needs_glibc
def test_a_choice_in_the_environment_stands(tmp_path: Path) -> None:
    before, after = _page_faults("evaluate", tmp_path, MALLOC_TRIM_THRESHOLD_="131072")
    assert after > before / 2


def test_where_it_would_not_help_nothing_is_done(tmp_path: Path) -> None:
    assert not keep_freed_memory(nn.Linear(2, 2, device="meta"))
    assert not keep_freed_memory(nn.Identity())
    pytest.importorskip("bitsandbytes")
    bits = BitsAndBytesConfig(load_in_4bit=True)
    base = write_base(tmp_path / "base")
    assert not keep_freed_memory(
        AutoModelForSequenceClassification.from_pretrained(base, quantization_config=bits, **LORA)
    )
