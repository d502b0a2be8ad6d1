"""What runs with bottleneck adapters and BitFit save, and how it comes back; AdapterHub's folders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from method_models import BITFIT, CHOICES, FAMILIES, HOULSBY, PFEIFFER, batch, write_encoder
from safetensors.torch import load_file, save_file
from tiny import LORA, run_python, same_tensors, shake, values
from torch import Tensor

from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments
from transformers.adapters.adapterhub import read_bottleneck

LABELS = {0: "no", 1: "perhaps", 2: "yes"}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=CHOICES)
def choice(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CHOICES[request.param]


@pytest.fixture
def base(family: str, tmp_path: Path) -> Path:
    return write_encoder(family, tmp_path / "base")


def load(base: Path, **fields: Any) -> PreTrainedModel:
    torch.manual_seed(2)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(base, id2label=LABELS, **fields)
    return model


def trained_model(base: Path, **fields: Any) -> PreTrainedModel:
    model = load(base, **fields)
    shake(model)
    return model


# Round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_folder_comes_back_bit_by_bit(
    base: Path, choice: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    model = trained_model(base, dtype=dtype, **choice)
    model.save_adapter(tmp_path / "run")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run", dtype=dtype)
    assert same_tensors(values(again), values(model))
    assert torch.equal(again(**batch()).logits, model(**batch()).logits)
    assert again.config.id2label == LABELS
    assert all(getattr(again.config, name) == value for name, value in choice.items())
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }


def test_a_fresh_process_gives_the_same_numbers(tmp_path: Path) -> None:
    """One process reads every family and choice."""
    inputs = batch()
    for family in FAMILIES:
        base = write_encoder(family, tmp_path / family / "base")
        for name, choice in CHOICES.items():
            model = trained_model(base, **choice)
            model.save_adapter(tmp_path / family / name)
            save_file({"logits": model(**inputs).logits.detach()}, tmp_path / family / f"{name}.safetensors")
    save_file(inputs, tmp_path / "inputs.safetensors")
    code = """
import sys
from pathlib import Path
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification
inputs = load_file(Path(sys.argv[1], "inputs.safetensors"))
for expected in sorted(Path(sys.argv[1]).glob("*/*.safetensors")):
    model = AutoModelForSequenceClassification.from_pretrained(expected.with_suffix(""))
    difference = (model(**inputs).logits - load_file(expected)["logits"]).abs().max()
    print(expected.stem, float(difference), list(model.config.id2label.values()))
"""
    lines = run_python(code, tmp_path).splitlines()
    assert len(lines) == len(FAMILIES) * len(CHOICES)
    for line in lines:
        _, difference, labels = line.split(maxsplit=2)
        assert float(difference) < 1e-6, line  # another process may add up in another order
        assert labels == str(list(LABELS.values()))


def test_the_folder_holds_what_is_trained_and_nothing_of_the_base(
    base: Path, choice: dict[str, Any], tmp_path: Path
) -> None:
    model = trained_model(base, **choice)
    model.save_adapter(tmp_path / "run")
    files = {path.name for path in (tmp_path / "run").iterdir()}
    for_peft = choice.get("apply_lora") and not choice.get("apply_adapter")
    wanted = (
        {"adapter_model.safetensors", "adapter_config.json", "lora_metadata.json"}
        if for_peft
        else {"trained_model.safetensors", "trained_model.json"}
    )
    assert files == {*wanted, "README.md"}
    tensors = load_file(next((tmp_path / "run").glob("*.safetensors")))
    assert sum(tensor.numel() for tensor in tensors.values()) == model.num_parameters(only_trainable=True)
    if not for_peft:
        assert set(tensors) == {name for name, p in model.named_parameters() if p.requires_grad}


def test_the_whole_model_comes_back_too(base: Path, choice: dict[str, Any], tmp_path: Path) -> None:
    model = trained_model(base, **choice)
    model.save_pretrained(tmp_path / "whole")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole")
    assert same_tensors(values(again), values(model))
    assert torch.equal(again(**batch()).logits, model(**batch()).logits)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }


def test_the_configuration_is_found_from_the_folder(base: Path, choice: dict[str, Any], tmp_path: Path) -> None:
    trained_model(base, **choice).save_adapter(tmp_path / "run")
    config = AutoConfig.from_pretrained(tmp_path / "run")
    assert all(getattr(config, name) == value for name, value in choice.items())
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run", config=config)
    assert model.config.id2label == LABELS


def test_a_base_that_has_moved_is_found_where_it_is(base: Path, tmp_path: Path) -> None:
    model = trained_model(base, **HOULSBY)
    model.save_adapter(tmp_path / "run")
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="base' does not exist"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "run")
    again = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "run", base_model_name_or_path=str(tmp_path / "elsewhere")
    )
    assert same_tensors(values(again), values(model))


def test_one_form_replaces_the_other(base: Path, tmp_path: Path) -> None:
    """Two runs into one folder leave the second's alone."""
    for fields in (LORA, HOULSBY, LORA):
        model = trained_model(base, **fields)
        model.save_adapter(tmp_path / "run")
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run")
        assert again.config.apply_adapter is bool(fields.get("apply_adapter"))
        assert same_tensors(values(again), values(model))


# Runs -----------------------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The rows of a batch with labels."""

    def __init__(self, rows: int = 12) -> None:
        self.inputs = batch(rows)

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**{name: value[index] for name, value in self.inputs.items()}, "labels": torch.tensor(index % 3)}


def train(base: Path, output: Path, resume: Path | None = None, *, fields: dict[str, Any], **changes: Any) -> Trainer:
    settings = {"report_to": "none", "disable_tqdm": True, "max_steps": 4, "save_steps": 2, "learning_rate": 1e-2}
    settings |= {"no_cuda": True, "per_device_train_batch_size": 4, "logging_steps": 1, **changes}
    model = load(base, **fields)
    trainer = Trainer(model, TrainingArguments(str(output), **settings), train_dataset=Rows(), eval_dataset=Rows())
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


@pytest.mark.parametrize("precision", [{}, {"bf16": True}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.parametrize("name", ["houlsby-lora", "bitfit", "pfeiffer-bitfit", "bitfit-lora"])
def test_a_run_checkpoints_its_part_and_resumes_exactly(
    base: Path, name: str, precision: dict[str, bool], tmp_path: Path
) -> None:
    fields = {**CHOICES[name], "hidden_dropout_prob": 0.1}
    straight = train(base, tmp_path / "straight", fields=fields, **precision)
    checkpoint = tmp_path / "straight" / "checkpoint-2"
    assert not {path.name for path in checkpoint.iterdir()} & {"model.safetensors", "pytorch_model.bin", "config.json"}
    resumed = train(base, tmp_path / "resumed", checkpoint, fields=fields, **precision)
    assert same_tensors(values(resumed.model), values(straight.model))
    frozen = {n: p.dtype for n, p in straight.model.named_parameters() if not p.requires_grad}
    assert set(frozen.values()) == {torch.bfloat16 if precision.get("bf16") else torch.float32}

    straight.save_model(str(tmp_path / "end"))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "end")
    saved = {n: p for n, p in straight.model.named_parameters() if p.requires_grad}
    assert all(torch.equal(again.get_parameter(name), parameter) for name, parameter in saved.items())


@pytest.mark.parametrize("kind", [{"consistency": "rdrop", "reg_loss_wgt": 1.0}, {"reg_loss_wgt": 1.0}])
def test_a_consistency_run_resumes_exactly_and_evaluates_plainly(
    base: Path, kind: dict[str, Any], tmp_path: Path
) -> None:
    fields = {**LORA, **kind, "hidden_dropout_prob": 0.1}
    if "consistency" not in kind:
        fields |= {"masking_prob": 0.3, "cls_token_id": 3, "sep_token_id": 2, "unk_token_id": 4}
    straight = train(base, tmp_path / "straight", fields=fields)
    resumed = train(base, tmp_path / "resumed", tmp_path / "straight" / "checkpoint-2", fields=fields)
    assert same_tensors(values(resumed.model), values(straight.model))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "straight" / "checkpoint-4")
    assert plain.config.consistency is None, "how a run was regularised is no part of what it learnt"
    output = plain(**{name: torch.stack([row[name] for row in Rows()]) for name in Rows()[0]})
    assert straight.evaluate()["eval_loss"] == pytest.approx(output.loss.item(), rel=1e-5)


# Damage ---------------------------------------------------------------------------------------------------------


def damage_hash(folder: Path) -> None:
    tensors = load_file(folder / "trained_model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "trained_model.safetensors")


def change(folder: Path, **fields: Any) -> None:
    path = folder / "trained_model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


DAMAGES: dict[str, tuple[Any, type[Exception], str]] = {
    "replaced tensors": (damage_hash, ValueError, "sha256 differs"),
    "no tensors": (lambda folder: (folder / "trained_model.safetensors").unlink(), OSError, "no trained_model.safe"),
    "cut": (lambda f: (f / "trained_model.json").write_text('{"methods"'), ValueError, "trained_model.json"),
    "newer": (lambda folder: change(folder, format_version=99), ValueError, "format_version is 99"),
    "no methods": (lambda folder: change(folder, methods=None), ValueError, "methods is None"),
    "labels": (lambda folder: change(folder, id2label={"1": "x"}), ValueError, "id2label"),
    "another base": (lambda folder: change(folder, base_sha256="0" * 64), ValueError, "was trained on"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_says_what_is_wrong(name: str, base: Path, tmp_path: Path) -> None:
    damage, error, message = DAMAGES[name]
    trained_model(base, **HOULSBY).save_adapter(tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(error, match=message):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "run")


def test_a_value_that_is_not_finite_is_neither_saved_nor_read(base: Path, tmp_path: Path) -> None:
    model = trained_model(base, **BITFIT)
    next(p for p in model.parameters() if p.requires_grad).data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        model.save_adapter(tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.json"))


def test_bottleneck_adapters_are_no_lora_adapter(base: Path, tmp_path: Path) -> None:
    from transformers.adapters.folder import load_adapter_weights, start_from_adapter

    trained_model(base, **HOULSBY).save_adapter(tmp_path / "run")
    plain = load(base)
    before = values(plain)
    with pytest.raises(ValueError, match="from_pretrained"):
        plain.load_adapter(tmp_path / "run")
    lora = load(base, **LORA)
    with pytest.raises(ValueError, match="no LoRA adapter"):
        start_from_adapter(lora, tmp_path / "run")
    with pytest.raises(ValueError, match="but this model has"):
        load_adapter_weights(lora, tmp_path / "run")
    assert same_tensors(values(plain), before)


def test_lora_beside_other_methods_starts_from_a_lora_adapter_with_its_head(base: Path, tmp_path: Path) -> None:
    from transformers.adapters.folder import start_from_adapter

    source = trained_model(base, **LORA)
    source.save_adapter(tmp_path / "lora")
    model = load(base, **LORA, **HOULSBY, **BITFIT)
    assert start_from_adapter(model, tmp_path / "lora").line.endswith("and its head.")
    for name, parameter in source.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(model.get_parameter(name), parameter)


# AdapterHub -----------------------------------------------------------------------------------------------------


def write_adapterhub(
    model: PreTrainedModel, folder: Path, task: str = "mnli", label2id: dict[str, int] | None = None
) -> Path:
    """Write a RoBERTa's adapters and head as AdapterHub publishes them."""
    folder.mkdir()
    names = {"adapter_A": "adapter_down.0", "adapter_B": "adapter_up"}
    adapters = {
        re.sub(
            r"adapter\.(adapter_[AB])", lambda match: f"adapters.{task}.{names[match[1]]}", name
        ): parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if ".adapter." in name
    }
    head = {
        name.replace("classifier.dense", f"heads.{task}.1").replace("classifier.out_proj", f"heads.{task}.4"): value
        for name, value in model.state_dict().items()
        if name.startswith("classifier")
    }
    torch.save(adapters, folder / "pytorch_adapter.bin")
    torch.save(head, folder / "pytorch_model_head.bin")
    if label2id is not None:
        (folder / "head_config.json").write_text(json.dumps({"config": {"label2id": label2id}}))
    return folder


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    return write_encoder("roberta", tmp_path / "base")


@pytest.mark.parametrize("fields", [HOULSBY, PFEIFFER], ids=["houlsby", "pfeiffer"])
def test_a_published_folder_is_loaded(fields: dict[str, Any], roberta: Path, tmp_path: Path) -> None:
    source = trained_model(roberta, **fields)
    folder = write_adapterhub(source, tmp_path / "hub")
    content = read_bottleneck(folder)
    assert (content.adapter_type, content.adapter_size) == (fields["adapter_type"], fields["adapter_size"])
    model = load(roberta, **fields, adapter_path=str(folder))
    assert same_tensors(values(model), values(source))
    assert torch.equal(model(**batch()).logits, source(**batch()).logits)


def test_an_own_folder_is_started_from_too(family: str, base: Path, tmp_path: Path) -> None:
    source = trained_model(base, **PFEIFFER, **LORA)
    source.save_adapter(tmp_path / "own")
    model = load(base, **PFEIFFER, adapter_path=str(tmp_path / "own"))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, source.get_parameter(name)), name


@pytest.mark.parametrize(
    ("label2id", "taken"), [(None, True), ({"no": 0, "perhaps": 1, "yes": 2}, True), ({"yes": 0, "no": 1}, False)]
)
def test_a_head_of_other_labels_is_left(
    label2id: dict[str, int] | None, taken: bool, roberta: Path, tmp_path: Path
) -> None:
    source = trained_model(roberta, **HOULSBY)
    folder = write_adapterhub(source, tmp_path / "hub", label2id=label2id)
    fresh, model = load(roberta, **HOULSBY), load(roberta, **HOULSBY, adapter_path=str(folder))
    for name, parameter in model.named_parameters():
        if name.startswith("classifier"):
            assert torch.equal(parameter, (source if taken else fresh).get_parameter(name)), name
        if ".adapter." in name:
            assert torch.equal(parameter, source.get_parameter(name)), name


def test_folders_that_do_not_fit(roberta: Path, tmp_path: Path) -> None:
    source = trained_model(roberta, **HOULSBY)
    folder = write_adapterhub(source, tmp_path / "hub")
    for fields, message in (
        (PFEIFFER, "type houlsby and size 8"),
        ({**HOULSBY, "adapter_size": 16}, "type houlsby and size 8"),
        (LORA, "set apply_adapter"),
    ):
        with pytest.raises(ValueError, match=message):
            load(roberta, **fields, adapter_path=str(folder))
    with pytest.raises(OSError, match="no bottleneck adapters"):
        load(roberta, **HOULSBY, adapter_path=str(roberta))
    small = write_encoder("roberta", tmp_path / "small", num_hidden_layers=1)
    with pytest.raises(ValueError, match="for another model"):
        load(small, **HOULSBY, adapter_path=str(folder))


def test_a_pickle_that_runs_code_is_refused(roberta: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    folder = write_adapterhub(trained_model(roberta, **HOULSBY), tmp_path / "hub")
    torch.save({"x": Trap()}, folder / "pytorch_adapter.bin")
    with pytest.raises(ValueError, match="could run code"):
        read_bottleneck(folder)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"roberta.encoder.layer.0.output.dense.weight": torch.zeros(2, 2)}, "were expected"),
        (
            {f"r.output.adapters.{task}.adapter_down.0.weight": torch.zeros(2, 2) for task in ("a", "b")},
            "several tasks: a, b",
        ),
        ({"r.output.adapters.a.adapter_down.0.weight": torch.full((2, 2), torch.inf)}, "not finite"),
        ({}, "holds no bottleneck adapters"),
    ],
)
def test_files_of_another_form(tensors: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "pytorch_adapter.bin")
    with pytest.raises(ValueError, match=message):
        read_bottleneck(tmp_path)
