"""Outputs that a model of one's own adds to those of the package reach the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny import random_ids, tiny_config

from transformers import RobertaForSequenceClassification, Trainer, TrainingArguments


class WithMargin(RobertaForSequenceClassification):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output["margin"] = output.logits[:, 1] - output.logits[:, 0]
        return output


def test_predict_gives_what_was_added(tmp_path: Path) -> None:
    rows = [{"input_ids": row, "labels": 0} for row in random_ids(6, 5)]
    arguments = TrainingArguments(str(tmp_path), report_to=[], disable_tqdm=True, per_device_eval_batch_size=4)
    logits, margin = Trainer(WithMargin(tiny_config()), arguments).predict(rows).predictions
    np.testing.assert_allclose(margin, logits[:, 1] - logits[:, 0], rtol=1e-5)
