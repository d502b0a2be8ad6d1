"""Who may read what was written: whoever may read any new file of the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import run_python

EVERYTHING = """
import os, stat, sys
import torch
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (AutoModelForSequenceClassification, PreTrainedTokenizerFast, RobertaConfig,
                          RobertaForSequenceClassification, Trainer, TrainingArguments)
from transformers.adapters.legacy import save_legacy_adapter
folder = Path(sys.argv[1])
model = RobertaForSequenceClassification(RobertaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1,
    num_attention_heads=2, intermediate_size=8, max_position_embeddings=10))
model.save_pretrained(folder / "whole")
model.save_pretrained(folder / "shards", max_shard_size="1KB")
model.save_pretrained(folder / "legacy", safe_serialization=False)
lora = AutoModelForSequenceClassification.from_pretrained(folder / "whole", apply_lora=True, lora_r=2, lora_alpha=2)
lora.save_adapter(folder / "adapter")
save_legacy_adapter({k: v for k, v in lora.state_dict().items() if "lora_" in k}, folder / "adapter.bin")
biases = AutoModelForSequenceClassification.from_pretrained(folder / "whole", apply_bitfit=True)
biases.save_adapter(folder / "biases")
words = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder / "words")
rows = [{"input_ids": [3, 4], "attention_mask": [1, 1], "labels": i % 2} for i in range(4)]
arguments = TrainingArguments(str(folder / "run"), max_steps=1, save_steps=1, report_to=[], disable_tqdm=True)
trainer = Trainer(lora, arguments, train_dataset=rows)
trainer.train()
trainer.save_model()
trainer.save_state()
trainer.save_metrics("train", {"loss": 1.0})
plain = Trainer(torch.nn.Linear(2, 2), TrainingArguments(str(folder / "plain"), report_to=[]))
plain.save_model()
paths = sorted(folder.rglob("*"))
print("FILES", sum(path.is_file() for path in paths))
for path in paths:
    mode = 0o777 if path.is_dir() else 0o666
    if stat.S_IMODE(path.stat().st_mode) != mode & ~int(sys.argv[2], 8):
        print("WRONG", path.relative_to(folder), oct(path.stat().st_mode))
"""


@pytest.mark.parametrize("umask", ["022", "007", "077"])
def test_the_umask_decides_for_every_file(umask: str, tmp_path: Path) -> None:
    printed = run_python(EVERYTHING, tmp_path, umask)
    assert "WRONG" not in printed, printed
    assert int(printed.partition("FILES ")[2].split()[0]) > 25
    assert not list(tmp_path.rglob("*.mode"))
