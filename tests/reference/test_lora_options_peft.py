"""Each option of LoRA against real PEFT over real upstream: values, gradients, fifty steps, folders both ways."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from parity import GRADIENT_TOLERANCE, SHIFTS, Upstream, make_inputs, train_adapter
from safetensors.torch import load_file, save_file
from tiny import TINY, shake
from torch import Tensor

from transformers import (
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2Model,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    TrainingArguments,
)
from transformers.adapters.folder import adapter_tensors
from transformers.adapters.peft_format import to_peft_names
from transformers.optimization import create_optimizer

pytestmark = pytest.mark.reference

STEPS = 50
SIZES = {**TINY, "initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass(frozen=True)
class Case:
    """One option.

    Attributes:
        ours: Fields of our configuration beside rank and alpha.
        peft: The same as arguments of PEFT's ``LoraConfig``.
        deberta: The base is a DeBERTa.
        shape: Fields of the base's configuration.
        starts_alike: PEFT is given our starting values, rather than making its own.
    """

    ours: dict[str, Any]
    peft: dict[str, Any]
    deberta: bool = False
    shape: dict[str, Any] = field(default_factory=dict)
    starts_alike: bool = True


def _same(deberta: bool = False, shape: dict[str, Any] | None = None, **options: Any) -> Case:
    """Make a case whose fields have PEFT's names with ``lora_`` in front."""
    ours = {f"lora_{name}": value for name, value in options.items()}
    return Case(ours, dict(options), deberta, shape or {})


NAMES = ["query", "key", "value", "attention.output.dense", "intermediate.dense"]
CASES = {
    "all-linear": _same(target_modules="all-linear"),
    "names": _same(target_modules=NAMES),
    "bare-names": _same(target_modules=["query", "dense"]),
    "expression": _same(target_modules=r".*\.layer\.1\..*\.(query|key|dense)"),
    "excluded": _same(target_modules=["query", "key"], exclude_modules=["layer.0.attention.self.query"]),
    "excluded-expression": _same(target_modules="all-linear", exclude_modules=r".*attention.*|classifier.*"),
    "layers": _same(target_modules=["query", "value"], layers_to_transform=[1], layers_pattern="layer"),
    "layer": _same(target_modules=["query", "intermediate.dense"], layers_to_transform=0),
    "ranks": _same(
        target_modules=["query", "key", "value"],
        rank_pattern={"layer.0.attention.self.query": 2, "value": 3},
        alpha_pattern={r"layer\.1.*key": 24},
    ),
    "rslora": _same(target_modules=["query", "value"], use_rslora=True),
    "bias-all": _same(target_modules=["query", "value"], bias="all"),
    "bias-lora-only": _same(target_modules=["query", "output.dense"], bias="lora_only"),
    "norms": _same(target_modules=["query", "value"], modules_to_save=["LayerNorm"]),
    "dora": _same(target_modules="all-linear", use_dora=True),
    "dora-rslora-ranks": _same(target_modules=["query"], use_dora=True, use_rslora=True, rank_pattern={"query": 2}),
    "embeddings": _same(target_modules=["word_embeddings", "token_type_embeddings", "position_embeddings", "key"]),
    "pissa": Case(
        {"lora_init": "pissa"},
        {"target_modules": ["query", "value"], "init_lora_weights": "pissa"},
        starts_alike=False,
    ),
    "olora": Case(
        {"lora_init": "olora", "lora_target_modules": NAMES},
        {"target_modules": NAMES, "init_lora_weights": "olora"},
        starts_alike=False,
    ),
    "lora-plus": Case(
        {"lora_plus_lr_ratio": 8.0, "lora_target_modules": ["query", "word_embeddings"], "lora_bias": "lora_only"},
        {"loraplus_lr_ratio": 8.0, "target_modules": ["query", "word_embeddings"], "bias": "lora_only"},
    ),
    "deberta-all-linear": _same(True, target_modules="all-linear"),
    "deberta-dora": _same(True, target_modules=["query_proj", "key_proj", "output.dense"], use_dora=True),
    "deberta-positions": _same(
        True, {"share_att_key": False}, target_modules=["pos_key_proj", "pos_query_proj", "query_proj"]
    ),
    "deberta-norms-rslora": _same(
        True, target_modules=["query_proj"], modules_to_save=["LayerNorm"], use_rslora=True, bias="lora_only"
    ),
    "deberta-embeddings": _same(True, target_modules=["word_embeddings", "value_proj"]),
    "deberta-pissa": Case(
        {"lora_init": "pissa", "lora_target_modules": ["query_proj", "intermediate.dense"]},
        {"target_modules": ["query_proj", "intermediate.dense"], "init_lora_weights": "pissa"},
        deberta=True,
        starts_alike=False,
    ),
}


def _write_base(case: Case, folder: Path) -> Path:
    torch.manual_seed(3)
    if case.deberta:
        DebertaV2Model(DebertaV2Config(**{**DEBERTA, **SIZES, **case.shape})).save_pretrained(folder)
    else:
        RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False).save_pretrained(folder)
    return folder


def _load(case: Case, base: Path) -> PreTrainedModel:
    """Load the case's model over its base, with the same values each time."""
    torch.manual_seed(4)
    meaning = {"lora_position_query": True} if case.deberta else {}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=2, apply_lora=True, lora_r=4, lora_alpha=8, **meaning, **case.ours
    )
    if case.starts_alike:
        shake(model, 5, scale=0.05)
    return model


def _trained(case: Case, base: Path) -> PreTrainedModel:
    """Give the case's model with values as after training."""
    model = _load(case, base).eval()
    shake(model, 6, scale=0.05)
    return model


def _batches() -> list[dict[str, Tensor]]:
    """Batches whose label can be learned: whether the row's first word is in the upper half of the vocabulary."""
    batches = []
    for step in range(STEPS):
        batch = make_inputs(TINY["vocab_size"], 1, rows=6, length=15, seed=step % 10)
        batch["labels"] = (batch["input_ids"][:, 0] > TINY["vocab_size"] // 2).long()
        batches.append(batch)
    return batches


@pytest.fixture(scope="module")
def cases(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    flat = {f"{step}.{name}": value for step, batch in enumerate(_batches()) for name, value in batch.items()}
    for name, case in CASES.items():
        model = _load(case, _write_base(case, folder / name / "base"))
        start = {key: tensor.contiguous() for key, tensor in to_peft_names(adapter_tensors(model)).items()}
        if not case.starts_alike:
            start = {key: tensor for key, tensor in start.items() if ".lora_" not in key}
        save_file(start, folder / name / "start.safetensors")
        save_file(flat, folder / name / "batches.safetensors")
        head = ["classifier", "pooler"] if case.deberta else ["classifier"]
        saved = [*head, *case.peft.get("modules_to_save", [])]
        options = {**case.peft, "modules_to_save": saved, "r": 4, "lora_alpha": 8}
        (folder / name / "options.json").write_text(json.dumps(options))
        _trained(case, folder / name / "base").save_adapter(folder / name / "ours")
    upstream("upstream_options.py", folder)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_values_gradients_and_training_equal_peft(cases: Path, name: str) -> None:
    case, theirs = CASES[name], load_file(cases / name / "results.safetensors")
    model, batches = _load(case, cases / name / "base").eval(), _batches()
    with torch.no_grad():
        start = model(**{key: value for key, value in batches[0].items() if key != "labels"}).logits
    assert (start - theirs["start.logits"]).abs().max() <= 1e-5
    model.train()
    model(**batches[0]).loss.backward()
    _compare_gradients(model, theirs, exact=case.starts_alike)
    model.zero_grad()
    losses, logits = train_adapter(model, batches, 2e-3, _optimizer(model))
    assert losses[-10:].mean() < losses[:10].mean(), "nothing was learned, so equality would say little"
    assert (losses - theirs["losses"]).abs().max() <= 1e-4
    assert (logits - theirs["logits"]).abs().max() <= 1e-3


def _optimizer(model: PreTrainedModel) -> torch.optim.Optimizer | None:
    """Give LoRA+ its optimizer, by the Trainer's own rule."""
    if model.config.lora_plus_lr_ratio is None:
        return None
    groups = create_optimizer(TrainingArguments("unused", learning_rate=5e-4), model).param_groups
    return torch.optim.AdamW([{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups])


def _compare_gradients(model: PreTrainedModel, theirs: dict[str, Tensor], *, exact: bool) -> None:
    """Compare all gradients; those of a start of PEFT's own up to the sign, which a decomposition leaves open."""
    own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expected = {name.removeprefix("grad."): value for name, value in theirs.items() if name.startswith("grad.")}
    assert own.keys() == expected.keys(), sorted(own.keys() ^ expected.keys())
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, wanted in expected.items():
        gradient = own[name]
        scale = largest if name.endswith(SHIFTS) or ".lora_" in name else float(wanted.abs().max())
        difference = gradient - wanted if exact else gradient.abs() - wanted.abs()
        assert float(difference.abs().max()) / scale <= GRADIENT_TOLERANCE, name


def _logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.eval()(**{key: v for key, v in _batches()[0].items() if key != "labels"}).logits
    return result


@pytest.mark.parametrize("name", CASES)
def test_our_folder_means_the_same_to_peft(cases: Path, name: str) -> None:
    theirs = load_file(cases / name / "results.safetensors")["ours"]
    assert (_logits(_trained(CASES[name], cases / name / "base")) - theirs).abs().max() <= 1e-5
    again = AutoModelForSequenceClassification.from_pretrained(cases / name / "ours")
    assert (_logits(again) - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_pefts_folder_means_the_same_here(cases: Path, name: str, tmp_path: Path) -> None:
    theirs = load_file(cases / name / "results.safetensors")["logits"]
    ours = AutoModelForSequenceClassification.from_pretrained(
        cases / name / "peft", base_model_name_or_path=cases / name / "base"
    )
    assert (_logits(ours) - theirs).abs().max() <= 1e-5
    ours.save_adapter(tmp_path / "again")
    plain = AutoModelForSequenceClassification.from_pretrained(cases / name / "base", num_labels=2)
    plain.load_adapter(tmp_path / "again", "theirs")
    assert torch.equal(_logits(plain), _logits(ours))
    merged = plain.merge_and_unload()
    assert (_logits(merged) - theirs).abs().max() <= 1e-5
