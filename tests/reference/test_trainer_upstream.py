"""The same model on the same examples gives upstream's Trainer the same losses, rates and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import Upstream
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.data.samplers import epoch_order

pytestmark = pytest.mark.reference

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation-clipping-decay": {"gradient_accumulation_steps": 3, "max_grad_norm": 0.1, "weight_decay": 0.2},
    "cosine-warmup-smoothing": {"lr_scheduler_type": "cosine", "warmup_steps": 4, "label_smoothing_factor": 0.2},
    "no-clipping": {"max_grad_norm": 0.0, "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6},
}
EXAMPLES, EPOCHS = 48, 2


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 10)
        self.LayerNorm = nn.LayerNorm(10)
        self.out = nn.Linear(10, 3)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.out(torch.tanh(self.LayerNorm(self.dense(inputs))))
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


class Record(TrainerCallback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.losses.append(kwargs["loss"])


def settings(name: str) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-2,
        "optim": "adamw_torch",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        **CASES[name],
    }


def examples() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(EXAMPLES, 6, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, 0] + inputs[:, 1] > 0).long() + (inputs[:, 2] > 1).long()


@pytest.fixture(scope="module")
def theirs(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What upstream's Trainer makes of every case: weights before and after, losses, learning rates."""
    root = tmp_path_factory.mktemp("cases")
    inputs, labels = examples()
    seen = [index for epoch in range(EPOCHS) for index in epoch_order(EXAMPLES, 42, epoch)]
    torch.manual_seed(0)
    for name in CASES:
        (root / name).mkdir()
        save_file({key: value.clone() for key, value in Net().state_dict().items()}, root / name / "start.safetensors")
        save_file({"inputs": inputs[seen], "labels": labels[seen]}, root / name / "data.safetensors")
        (root / name / "arguments.json").write_text(json.dumps({**settings(name), "num_train_epochs": 1}))
    upstream("upstream_trainer.py", *(root / name for name in CASES))
    results = {}
    for name in CASES:
        start = {f"start.{key}": value for key, value in load_file(root / name / "start.safetensors").items()}
        results[name] = {**start, **load_file(root / name / "end.safetensors")}
    return results


@pytest.mark.parametrize("name", CASES)
def test_training_equals_upstream_s(name: str, theirs: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    expected = theirs[name]
    model, record = Net(), Record()
    model.load_state_dict({key: expected[f"start.{key}"] for key in model.state_dict()})
    inputs, labels = examples()
    data = [{"inputs": row, "labels": label} for row, label in zip(inputs, labels.tolist(), strict=True)]
    args = TrainingArguments(str(tmp_path), **{**settings(name), "num_train_epochs": EPOCHS})
    Trainer(model, args, train_dataset=data, callbacks=[record]).train()
    losses = torch.tensor(record.losses)
    assert len(losses) == EPOCHS * EXAMPLES // args.global_batch_size
    torch.testing.assert_close(losses, expected["losses"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(record.rates), expected["rates"], atol=1e-9, rtol=1e-6)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], atol=2e-5, rtol=1e-4, msg=key)
        assert not torch.equal(value, expected[f"start.{key}"])
