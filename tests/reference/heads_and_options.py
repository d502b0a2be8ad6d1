"""The table of heads and LoRA options that is compared with upstream + PEFT: cases, their files, and the comparison.

`test_heads_and_options.py` runs it in short; ``benchmarks/heads_and_options.py`` runs all of it and writes it down.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from head_models import HEADS, TYPES, labels_for, loss_of, make_head, padded_batch
from parity import SHIFTS
from safetensors.torch import load_file, save_file
from tiny import shake
from torch import Tensor

from transformers import PreTrainedModel, TrainingArguments
from transformers.models.auto.configuration_auto import model_class
from transformers.optimization import create_optimizer

LABELS = ("labels", "start_positions", "end_positions")
TASK_TYPES = {
    "sequence-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "causal-lm": "CAUSAL_LM",
    "base": "FEATURE_EXTRACTION",
}
# Kinds of sequence classification beside a single label.
KINDS = {"multi-label": ("multi_label_classification", 3), "regression": ("regression", 1)}
ROWS = [*HEADS, *((family, kind) for family in TYPES for kind in KINDS)]

ALL_BUT_HEADS = r".*(classifier|qa_outputs|pooler|lm_head|predictions).*"  # PEFT would put LoRA into heads too
OPTIONS: dict[str, dict[str, Any]] = {
    "query and value": {},
    "all-linear": {"target_modules": "all-linear"},
    "names": {"target_modules": ["query", "key", "value", "attention.output.dense", "intermediate.dense"]},
    "expression": {"target_modules": r".*\.layer\.1\..*\.(query|key|dense)"},
    "excluded": {"target_modules": ["query", "key"], "exclude_modules": ["layer.0.attention.self.query"]},
    "layers": {"target_modules": ["query", "value"], "layers_to_transform": [1], "layers_pattern": "layer"},
    "ranks and alphas": {
        "target_modules": ["query", "key", "value"],
        "rank_pattern": {"layer.0.attention.self.query": 2, "value": 3},
        "alpha_pattern": {r"layer\.1.*key": 24},
    },
    "rank-stabilised": {"target_modules": ["query", "value"], "use_rslora": True},
    "all biases": {"target_modules": ["query", "value"], "bias": "all"},
    "LoRA's biases": {"target_modules": ["query", "output.dense"], "bias": "lora_only"},
    "LayerNorms": {"target_modules": ["query", "value"], "modules_to_save": ["LayerNorm"]},
    "DoRA": {"target_modules": ["query", "value", "output.dense"], "use_dora": True},
    "embeddings": {"target_modules": ["word_embeddings", "key"]},
    "gaussian": {"target_modules": ["query", "value"], "init_lora_weights": "gaussian"},
    "orthogonal": {"target_modules": ["query", "value"], "init_lora_weights": "orthogonal"},
    "PiSSA": {"target_modules": ["query", "value"], "init_lora_weights": "pissa"},
    "OLoRA": {"target_modules": ["query", "value"], "init_lora_weights": "olora"},
    "LoRA+": {"target_modules": ["query", "value"], "loraplus_lr_ratio": 8.0},
}
OURS = {"init_lora_weights": "lora_init", "loraplus_lr_ratio": "lora_plus_lr_ratio"}
# What moves all scores that are compared with each other alike has a gradient of zero but for rounding.
MOVES_ALL_SCORES = ("qa_outputs.bias", "classifier.bias", "layer.1.output.LayerNorm.bias")
COMPARED_ALONG = ("question-answering", "multiple-choice")  # tasks whose scores are compared along the last dimension
PEFTS_START = ("pissa", "olora")  # a decomposition leaves signs open, so PEFT makes its own


@dataclass(frozen=True)
class Case:
    """One cell of the table.

    Attributes:
        family: ``"roberta"`` or ``"deberta"``.
        row: A task, or a kind of sequence classification.
        option: A key of `OPTIONS`.
        steps: Steps of training.
    """

    family: str
    row: str
    option: str
    steps: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.family}.{self.row}.{self.option}".replace(" ", "_")

    @property
    def task(self) -> str:
        """The task in the table of models."""
        return "sequence-classification" if self.row in KINDS else self.row

    @property
    def pefts_start(self) -> bool:
        """Whether PEFT makes its own starting values."""
        return OPTIONS[self.option].get("init_lora_weights") in PEFTS_START

    def peft_options(self) -> dict[str, Any]:
        """Give the arguments of PEFT's ``LoraConfig``, for the family's names."""
        options = {"target_modules": ["query", "value"], **OPTIONS[self.option]}
        if self.family == "deberta":
            text = json.dumps(options)
            for name in ("query", "key", "value"):
                text = text.replace(f'"{name}"', f'"{name}_proj"').replace(f"self.{name}", f"self.{name}_proj")
            options = json.loads(text.replace("(query|key|", "(query_proj|key_proj|").replace(".*key", ".*key_proj"))
        return options

    def our_fields(self) -> dict[str, Any]:
        """Give the same as fields of our configuration."""
        fields = {OURS.get(name, f"lora_{name}"): value for name, value in self.peft_options().items()}
        meaning = {"lora_position_query": True} if self.family == "deberta" else {}
        return {"apply_lora": True, "lora_r": 4, "lora_alpha": 8, **meaning, **fields}

    def write_base(self, folder: Path) -> Path:
        """Write the checkpoint that the case stands on, head and all; rows share theirs."""
        base = folder / "bases" / f"{self.family}.{self.row}"
        if not base.exists():
            kind, labels = KINDS.get(self.row, (None, 3))
            fields: dict[str, Any] = {"type_vocab_size": 0 if self.family == "deberta" else 1}
            if kind is not None:
                fields |= {"problem_type": kind, "num_labels": labels}
            make_head(self.family, self.task, **fields).save_pretrained(base)
        return base

    def load(self, folder: Path) -> PreTrainedModel:
        """Load the model with its LoRA layers, with the same values each time."""
        base = self.write_base(folder)
        torch.manual_seed(4)
        found = model_class(TYPES[self.family], self.task)
        model: PreTrainedModel = found.from_pretrained(base, **self.our_fields())
        if not self.pefts_start:
            shake(model, 5, scale=0.05)
        return model

    def batches(self) -> list[dict[str, Tensor]]:
        """Make the batches: the same rows with other words in each, holes and padding included."""
        batches = []
        for step in range(max(self.steps, 1)):
            inputs = padded_batch("holes", self.task)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            inputs["input_ids"] = torch.where(ids > 4, (ids + 7 * (step % 5) - 5) % 50 + 5, ids)
            if self.task == "question-answering":  # upstream's loss compares with padding
                inputs["attention_mask"] = torch.ones_like(mask)
            labels = labels_for(self.task, inputs)
            if self.task == "causal-lm":  # nothing is computed here for a place that the mask excludes
                before = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1)
                labels = {"labels": torch.where((mask * before).bool(), inputs["input_ids"], -100)}
            if self.row == "regression":
                labels = {"labels": labels["labels"].float()}
            elif self.row == "multi-label":
                labels = {"labels": torch.eye(3)[labels["labels"]]}
            batches.append({**inputs, **labels})
        return batches

    def write(self, folder: Path) -> None:
        """Lay the case out for upstream_options.py."""
        place = folder / "cases" / self.name
        place.mkdir(parents=True)
        model = self.load(folder)
        trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        if self.pefts_start:
            trained = {name: value for name, value in trained.items() if ".lora_" not in name}
        save_file(trained, place / "trained.safetensors")
        flat = {f"{step}.{name}": value for step, batch in enumerate(self.batches()) for name, value in batch.items()}
        save_file(flat, place / "batches.safetensors")
        options = {**self.peft_options(), "r": 4, "lora_alpha": 8}
        if options["target_modules"] == "all-linear" or self.option == "expression":
            options["exclude_modules"] = ALL_BUT_HEADS
        (place / "options.json").write_text(json.dumps(options))
        described = {
            "base": str(self.write_base(folder)),
            "class": type(model).__name__,
            "task_type": TASK_TYPES.get(self.task),
            "steps": self.steps,
        }
        (place / "case.json").write_text(json.dumps(described))


def write_table(cases: Iterable[Case], folder: Path) -> Path:
    """Lay cases out; the folder that upstream_options.py is given is returned."""
    for case in cases:
        case.write(folder)
    return folder / "cases"


def compare(case: Case, folder: Path) -> dict[str, float]:
    """Compute a case here, and measure how far it is from what PEFT found.

    Returns:
        The largest differences: ``outputs`` (absolute, at the start), ``gradients`` (of the largest gradient of the
        parameter), and with training ``losses`` and ``trained`` (the outputs at the end).
    """
    theirs = load_file(folder / "cases" / case.name / "results.safetensors")
    model, batches = case.load(folder).eval(), case.batches()
    found = {"outputs": _difference(model, batches[0], theirs, "start", case.task)}
    model.train()
    loss_of(model(**batches[0])).backward()
    found["gradients"] = _gradients(model, theirs, exact=not case.pefts_start)
    if case.steps:
        model.zero_grad()
        optimizer, losses = _optimizer(model), []
        for batch in batches:
            loss = loss_of(model(**batch))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        found["losses"] = float((torch.stack(losses) - theirs["losses"]).abs().max())
        found["trained"] = _difference(model.eval(), batches[0], theirs, "end", case.task)
    return found


def _difference(
    model: PreTrainedModel, batch: dict[str, Tensor], theirs: dict[str, Tensor], when: str, task: str
) -> float:
    """Compare all outputs, where the mask is 1."""
    with torch.no_grad():
        output = model(**{name: value for name, value in batch.items() if name not in LABELS})
    mask, largest = batch["attention_mask"].bool(), 0.0
    for name in ("logits", "start_logits", "end_logits", "last_hidden_state"):
        if f"{when}.{name}" in theirs:
            wanted = theirs[f"{when}.{name}"]
            difference = (output[name].squeeze(-1) if wanted.dim() < output[name].dim() else output[name]) - wanted
            if when == "end" and task in COMPARED_ALONG:  # what moves them all alike follows rounding alone
                difference = difference - difference.mean(-1, keepdim=True)
            if difference.shape[: mask.dim()] == mask.shape:
                difference = difference[mask]
            largest = max(largest, float(difference.abs().max()))
    return largest


def _gradients(model: PreTrainedModel, theirs: dict[str, Tensor], *, exact: bool) -> float:
    """Compare all gradients; those of a start of PEFT's own up to the sign, which a decomposition leaves open."""
    own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expected = {name.removeprefix("grad."): value for name, value in theirs.items() if name.startswith("grad.")}
    assert own.keys() == expected.keys(), sorted(own.keys() ^ expected.keys())
    largest, found = max(float(value.abs().max()) for value in expected.values()), 0.0
    for name, wanted in expected.items():
        gradient = own[name]
        alike = name.endswith((*SHIFTS, *MOVES_ALL_SCORES)) or ".lora_" in name
        scale = largest if alike else float(wanted.abs().max())
        difference = gradient - wanted if exact else gradient.abs() - wanted.abs()
        found = max(found, float(difference.abs().max()) / scale)
    return found


def _optimizer(model: PreTrainedModel) -> torch.optim.Optimizer:
    """Give the optimizer that upstream_options.py takes; LoRA+ has its groups by the Trainer's own rule."""
    if model.config.lora_plus_lr_ratio is None:
        return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    groups = create_optimizer(TrainingArguments("unused", learning_rate=5e-4), model).param_groups
    return torch.optim.AdamW([{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups])
