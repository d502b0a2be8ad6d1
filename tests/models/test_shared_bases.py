"""Several models on one base: read once, hashed once, and never written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoint import write_tiny_checkpoint

from transformers import AutoModelForSequenceClassification
from transformers.base.sharing import SharedBases, sharing_bases
from transformers.modeling.weights import load_weights

LORA: dict[str, Any] = {"apply_lora": True, "lora_r": 2, "lora_alpha": 4}


def make(folder: Path, **fields: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, **fields)


def learn(model: Any) -> None:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    ids = torch.tensor([[2, 6, 7, 3], [2, 8, 9, 3]])
    model.train()
    model(ids, labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()


@pytest.mark.parametrize(
    "fields",
    [
        LORA,
        {**LORA, "lora_r": 3, "lora_target_modules": "all-linear", "lora_bias": "all"},
        {**LORA, "lora_modules_to_save": ["LayerNorm"], "lora_init": "pissa"},
        {"apply_bitfit": True},
        {},
    ],
    ids=["lora", "all-linear and biases", "norms and pissa", "bitfit", "all of it"],
)
def test_models_on_a_shared_base_are_what_each_is_alone(fields: dict[str, Any], tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "model")
    alone = make(folder, **fields)
    sha256, start = alone.base_sha256(), {name: value.clone() for name, value in alone.state_dict().items()}
    learn(alone)
    bases = SharedBases()
    for _ in range(2):
        with sharing_bases(bases):
            model = make(folder, **fields)
        assert model.base_sha256() == sha256
        for name, value in model.state_dict().items():
            assert torch.equal(value, start[name]), name
        learn(model)
        for name, value in model.state_dict().items():
            assert torch.equal(value, alone.state_dict()[name]), name
    assert bases.files_read == 1
    on_disk = load_weights(folder)
    kept = bases.tensors_of(folder / "model.safetensors", lambda path: pytest.fail("it was read again"))
    assert all(torch.equal(kept[name], value) for name, value in on_disk.items())


def test_frozen_tensors_are_the_same_memory_and_hashed_once(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "model")
    bases = SharedBases()
    with sharing_bases(bases):
        first = make(folder, **LORA)
        hashed = bases.tensors_hashed
        second = make(folder, **{**LORA, "lora_r": 4, "lora_target_modules": ["query", "dense"]})
    assert hashed > 0
    assert (bases.files_read, bases.tensors_hashed) == (1, hashed)
    others = dict(second.named_parameters())
    for name, value in first.named_parameters():
        if not value.requires_grad:
            assert value.data_ptr() == others[name].data_ptr(), name
        elif name in others:
            assert value.data_ptr() != others[name].data_ptr(), name
    assert make(folder, **LORA).get_parameter("roberta.embeddings.word_embeddings.weight").data_ptr() not in {
        value.data_ptr() for value in first.parameters()
    }


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    folder, bases = write_tiny_checkpoint(tmp_path / "model"), SharedBases()
    with sharing_bases(bases):
        first = make(folder, **LORA)
        write_tiny_checkpoint(folder.with_name("other"), initializer_range=0.5)
        (folder.with_name("other") / "model.safetensors").replace(folder / "model.safetensors")
        second = make(folder, **LORA)
    assert bases.files_read == 2
    assert first.base_sha256() != second.base_sha256()
