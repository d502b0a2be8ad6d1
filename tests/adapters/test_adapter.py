"""The adapter folder: it says what it is, comes back bit by bit, and leaves no trace where it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import LORA, random_ids, run_python, same_tensors, shake, tiny_config, values, write_base
from torch import Tensor

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from transformers.adapters.folder import adapter_settings, load_adapter_weights, start_from_adapter
from transformers.adapters.legacy import published_settings, read_legacy_adapter
from transformers.adapters.reading import is_adapter
from transformers.methods.lora.layers import lora_parameter_names

WEIGHTS, CONFIG, METADATA = "adapter_model.safetensors", "adapter_config.json", "lora_metadata.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


def _model(base: Path, **fields: Any) -> PreTrainedModel:
    """Make a LoRA model as training leaves it, lora_B not zero."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(base, **{**LORA, **fields})
    shake(model)
    return model


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    _model(base).save_adapter(tmp_path / "adapter")
    return tmp_path / "adapter"


def _load(folder: Path, **options: Any) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    return model


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# Round trip ---------------------------------------------------------------------------------------------------

FRESH = """
import sys
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification
inputs, logits = load_file(sys.argv[1]), {}
for folder in sys.argv[3:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    logits[folder] = model(**inputs).logits.detach()
    print(type(model).__name__, model.training, model.config.id2label, model.config.problem_type)
save_file(logits, sys.argv[2])
"""

TASKS: dict[str, dict[str, Any]] = {
    "one-value": {"num_labels": 1, "problem_type": "regression"},
    "two-classes": {"id2label": {0: "no", 1: "yes"}, "finetuning_task": "rte"},
    "three-classes": {"num_labels": 3, "lora_r": 2, "lora_alpha": 3, "lora_dropout": 0.1},
}


def test_a_fresh_process_gives_the_same_bits(base: Path, tmp_path: Path) -> None:
    mask = (torch.arange(9) < torch.tensor([[9], [5], [7], [2]])).long()
    inputs = {"input_ids": random_ids(), "attention_mask": mask}
    save_file(inputs, tmp_path / "inputs")
    models = {str(tmp_path / task): _model(base, **fields).eval() for task, fields in TASKS.items()}
    for folder, model in models.items():
        model.save_adapter(folder)
    said = run_python(FRESH, tmp_path / "inputs", tmp_path / "logits", *models).splitlines()
    logits = load_file(tmp_path / "logits")
    for line, (folder, model) in zip(said, models.items(), strict=True):
        assert torch.equal(logits[folder], model(**inputs).logits), folder
        config = model.config
        assert line == f"RobertaForSequenceClassification False {config.id2label} {config.problem_type}"


def test_everything_comes_back(base: Path, tmp_path: Path) -> None:
    model = _model(base, **TASKS["two-classes"])
    model.save_adapter(tmp_path)
    loaded = _load(tmp_path)
    assert same_tensors(values(loaded), values(model))
    for field in ("apply_lora", "lora_r", "lora_alpha", "lora_dropout", "id2label", "label2id", "finetuning_task"):
        assert getattr(loaded.config, field) == getattr(model.config, field), field
    trained = [{n for n, p in each.named_parameters() if p.requires_grad} for each in (model, loaded)]
    assert trained[0] == trained[1]
    loaded.save_adapter(tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tmp_path / WEIGHTS).read_bytes()


def test_a_script_that_loads_the_configuration_first(base: Path, adapter: Path) -> None:
    config = AutoConfig.from_pretrained(adapter)
    loaded = AutoModelForSequenceClassification.from_pretrained(adapter, config=config)
    assert same_tensors(values(loaded), values(_load(adapter)))


def test_what_the_folder_says(base: Path, adapter: Path) -> None:
    assert {path.name for path in adapter.iterdir()} == {WEIGHTS, CONFIG, METADATA, "README.md"}, (
        "and no temporary file"
    )
    content = json.loads((adapter / CONFIG).read_text())
    assert (content["peft_type"], content["task_type"], content["r"], content["lora_alpha"]) == (
        "LORA",
        "SEQ_CLS",
        4,
        8,
    )
    assert content["target_modules"] == ["query", "value"]
    assert content["modules_to_save"] == ["classifier"]
    assert content["base_model_name_or_path"] == str(base.resolve())
    metadata = json.loads((adapter / METADATA).read_text())
    assert metadata["lora_scaling"] == 2.0
    assert metadata["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    names = set(load_file(adapter / WEIGHTS))
    assert "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight" in names
    assert len(names) == 2 * 2 * 2 + 4


def test_size_on_disk(tmp_path: Path) -> None:
    with torch.device("meta"):
        sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
        model = RobertaForSequenceClassification(RobertaConfig(**sizes, apply_lora=True, lora_r=8, lora_alpha=16))
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                setattr(module, name, torch.nn.Parameter(torch.zeros(parameter.shape)))
    model.save_adapter(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4_000_000


def test_half_precision_base(base: Path, tmp_path: Path) -> None:
    model = _model(base, dtype=torch.bfloat16).eval()
    model.save_adapter(tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {torch.float32}
    loaded, ids = _load(tmp_path, dtype=torch.bfloat16), random_ids()
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_telling_adapters_from_models(base: Path, adapter: Path, tmp_path: Path) -> None:
    assert is_adapter(adapter)
    assert not is_adapter(base)
    assert not is_adapter(base / "config.json")
    assert adapter_settings(adapter) == (4, 8)


def test_nothing_to_save(base: Path, tmp_path: Path) -> None:
    plain = AutoModelForSequenceClassification.from_pretrained(base)
    with pytest.raises(ValueError, match="no LoRA layers"):
        plain.save_adapter(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_values_that_are_not_finite_are_not_saved(base: Path, adapter: Path) -> None:
    model = _model(base)
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    with torch.no_grad():
        model.classifier.out_proj.bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"classifier\.out_proj\.bias of the model holds values that are not finite"):
        model.save_adapter(adapter)
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before


def test_a_base_that_was_not_loaded_is_not_named(tmp_path: Path) -> None:
    model = RobertaForSequenceClassification(tiny_config(**LORA, name_or_path="roberta-base"))
    model.save_adapter(tmp_path)
    with pytest.raises(ValueError, match="does not say which base"):
        _load(tmp_path)


# The base -----------------------------------------------------------------------------------------------------


def test_another_base_is_refused_and_both_are_named(adapter: Path, base: Path, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="holds other weights") as error:
        _load(adapter, base_model_name_or_path=other)
    assert str(other) in str(error.value)
    assert str(base) in str(error.value)


def test_one_flipped_bit_of_the_base_is_noticed(adapter: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "copy" / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="holds other weights"):
        _load(adapter, base_model_name_or_path=tmp_path / "copy")


@pytest.mark.parametrize("auto", [True, False])
def test_a_base_that_has_moved(base: Path, tmp_path: Path, auto: bool) -> None:
    shutil.copytree(base, tmp_path / "old")
    model = _model(tmp_path / "old")
    model.save_adapter(tmp_path / "adapter")
    (tmp_path / "old").rename(tmp_path / "new")
    model_class = AutoModelForSequenceClassification if auto else RobertaForSequenceClassification
    with pytest.raises(OSError, match="base_model_name_or_path") as error:
        RobertaForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert str(tmp_path / "old") in str(error.value)
    loaded = model_class.from_pretrained(tmp_path / "adapter", base_model_name_or_path=tmp_path / "new")
    assert same_tensors(values(loaded), values(model))
    config = AutoConfig.from_pretrained(tmp_path / "adapter", base_model_name_or_path=tmp_path / "new")
    assert config.lora_r == 4


def test_a_base_in_other_files_is_the_same_base(adapter: Path, base: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(base)
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")  # with a prefix, a head, in shards
    loaded = _load(adapter, base_model_name_or_path=tmp_path / "shards")
    assert same_tensors(values(loaded), values(_load(adapter)))


def test_a_subfolder(adapter: Path) -> None:
    loaded = _load(adapter.parent, subfolder=adapter.name)
    assert same_tensors(values(loaded), values(_load(adapter)))


# Damage -------------------------------------------------------------------------------------------------------


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 4
    path.write_bytes(content)


def _nan(path: Path) -> None:
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[3] = float("inf")
    save_file(tensors, path)
    path.with_name(METADATA).unlink()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: _truncate(f / WEIGHTS), "sha256 differs"),
    "flipped": (lambda f: _flip(f / WEIGHTS), "sha256 differs"),
    "truncated-peft": (lambda f: (_truncate(f / WEIGHTS), (f / METADATA).unlink()), "not a whole safetensors file"),
    "not-finite": (lambda f: _nan(f / WEIGHTS), "not finite"),
    "no-weights": (lambda f: (f / WEIGHTS).unlink(), "but no adapter_model"),
    "config-no-json": (lambda f: (f / CONFIG).write_text("{"), "not a JSON file"),
    "config-list": (lambda f: (f / CONFIG).write_text("[]"), "holds a list"),
    "metadata-no-json": (lambda f: (f / METADATA).write_text("nope"), "not a JSON file"),
    "metadata-empty": (lambda f: (f / METADATA).write_text("{}"), "format_version is None"),
    "metadata-newer": (lambda f: _rewrite(f / METADATA, format_version=99), "format_version is 99"),
    "labels-list": (lambda f: _rewrite(f / METADATA, id2label=["a", "b"]), "id2label is"),
    "labels-gap": (lambda f: _rewrite(f / METADATA, id2label={"0": "a", "2": "b"}), "id2label is"),
    "labels-numbers": (lambda f: _rewrite(f / METADATA, id2label={"0": 1, "1": 2}), "id2label is"),
    "problem-type": (lambda f: _rewrite(f / METADATA, problem_type=3), "problem_type is 3"),
    "no-sum": (lambda f: _rewrite(f / METADATA, weights_sha256=None), "weights_sha256 is None"),
    "r-negative": (lambda f: _rewrite(f / CONFIG, r=-4), "r is -4"),
    "r-text": (lambda f: _rewrite(f / CONFIG, r="4"), "r is '4'"),
    "r-true": (lambda f: _rewrite(f / CONFIG, r=True), "r is True"),
    "r-changed": (lambda f: _rewrite(f / CONFIG, r=8), "r is 8 in adapter_config"),
    "alpha-changed": (lambda f: _rewrite(f / CONFIG, lora_alpha=16), "lora_alpha is 16 in adapter_config"),
    "alpha-none": (lambda f: _rewrite(f / CONFIG, lora_alpha=None), "lora_alpha is None"),
    "dropout": (lambda f: _rewrite(f / CONFIG, lora_dropout=1.0), "lora_dropout is 1"),
    "targets": (lambda f: _rewrite(f / CONFIG, target_modules="query"), "target_modules is 'query'"),
    "base-number": (lambda f: _rewrite(f / CONFIG, base_model_name_or_path=3), "base_model_name_or_path is 3"),
    "base-none": (lambda f: _rewrite(f / CONFIG, base_model_name_or_path=None), "does not say which base"),
    "type": (lambda f: _rewrite(f / CONFIG, peft_type="IA3"), "only LORA"),
    "dora": (lambda f: _rewrite(f / CONFIG, use_dora=True), "use_dora is True"),
    "rslora": (lambda f: _rewrite(f / CONFIG, use_rslora=True), "use_rslora is True"),
    "rank-pattern": (lambda f: _rewrite(f / CONFIG, rank_pattern={"query": 2}), "rank_pattern is"),
    "pissa": (lambda f: _rewrite(f / CONFIG, init_lora_weights="pissa_niter_4"), "changes the base's weights"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders_are_refused_and_change_nothing(base: Path, adapter: Path, damage: str) -> None:
    model = _model(base)
    shake(model, seed=2)
    before = values(model)
    spoil, message = DAMAGE[damage]
    spoil(adapter)
    with pytest.raises((ValueError, OSError), match=message):
        _load(adapter)
    if damage != "base-none":  # a model that is there needs no base
        for load in (load_adapter_weights, start_from_adapter):
            with pytest.raises((ValueError, OSError), match=message):
                load(model, adapter)
    assert same_tensors(values(model), before)


def _drop(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if name not in key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("layer.1.attention.self.query.lora_B"), "1 tensors are lacking, such as .*layer.1"),
        (_drop("classifier.dense"), "2 tensors are lacking, such as classifier.dense.bias"),
        (lambda t: {**t, "base_model.model.extra": torch.zeros(1)}, "1 tensors have no place here, such as extra"),
        (lambda t: {name: v[:-1].clone() if "out_proj" in name else v for name, v in t.items()}, "out_proj.*is"),
    ],
)
def test_other_tensors_are_refused(
    base: Path, adapter: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    save_file(change(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)
    (adapter / METADATA).unlink()
    model = _model(base)
    before = values(model)
    with pytest.raises(ValueError, match=message):
        load_adapter_weights(model, adapter)
    assert same_tensors(values(model), before)


def test_no_adapter_at_all(base: Path, tmp_path: Path) -> None:
    for load in (load_adapter_weights, start_from_adapter):
        with pytest.raises(OSError, match="no adapter"):
            load(_model(base), tmp_path)
    with pytest.raises(OSError, match=r"holds no config\.json"):
        _load(tmp_path)


def test_a_model_without_lora_layers_takes_none(base: Path, adapter: Path) -> None:
    with pytest.raises(ValueError, match="set apply_lora"):
        load_adapter_weights(AutoModelForSequenceClassification.from_pretrained(base), adapter)


# Task to task -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "takes_head", "message"),
    [
        ({}, True, "8 LoRA matrices and its head"),
        ({"num_labels": 3}, False, "its head has another shape"),
        ({"num_labels": 1}, False, "its head has another shape"),
        ({"id2label": {0: "LABEL_1", 1: "LABEL_0"}}, False, "its labels are others"),
    ],
)
def test_starting_from_another_task(
    base: Path, adapter: Path, fields: dict[str, Any], takes_head: bool, message: str
) -> None:
    source, model = values(_load(adapter)), _model(base, **fields)
    shake(model, seed=3)
    before = values(model)
    assert message in start_from_adapter(model, adapter).line
    after = values(model)
    for name in after:
        taken = name in lora_parameter_names(model) or (takes_head and name.startswith("classifier"))
        assert torch.equal(after[name], (source if taken else before)[name]), name


@pytest.mark.parametrize("fields", [{"lora_r": 2}, {"lora_alpha": 16}, {"lora_r": 8, "lora_alpha": 16}])
def test_starting_with_other_settings(base: Path, adapter: Path, fields: dict[str, Any]) -> None:
    model = _model(base, **fields)
    before = values(model)
    with pytest.raises(ValueError, match=r"lora_r 4 and lora_alpha 8.*asks for lora_r"):
        start_from_adapter(model, adapter)
    assert same_tensors(values(model), before)


def test_half_a_head_is_none(base: Path, adapter: Path) -> None:
    save_file(_drop("classifier.dense")(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)
    (adapter / METADATA).unlink()
    model = _model(base)
    shake(model, seed=4)
    before = model.classifier.out_proj.weight.detach().clone()
    assert "no whole head" in start_from_adapter(model, adapter).line
    assert torch.equal(model.classifier.out_proj.weight, before)


# The original's files -----------------------------------------------------------------------------------------


def _legacy(model: PreTrainedModel, path: Path, **extra: Any) -> Path:
    tensors = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    torch.save({**tensors, **extra}, path)
    return path


def test_an_original_file_of_unknown_origin(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = _model(base), _model(base, num_labels=2)
    shake(source, seed=5)
    path = _legacy(source, tmp_path / "mine.bin")
    assert adapter_settings(path) == (4, None)
    assert "its head" in start_from_adapter(model, path).line
    assert "does not say its alpha; it is used with lora_alpha 8" in capsys.readouterr().err
    assert same_tensors(values(model), values(source))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"roberta.x.lora_A": torch.zeros(4, 32), "roberta.y.lora_A": torch.zeros(2, 32)}, "several ranks"),
        ({"classifier.dense.bias": torch.zeros(3)}, "no LoRA matrices"),
        ({"roberta.x.lora_A": torch.zeros(4, 32)}, "has no place in this one"),
        ({"roberta.x.lora_A": torch.zeros(4)}, "no LoRA matrices"),
        ({"roberta.x.lora_A": [1, 2]}, "holds no state dict"),
    ],
)
def test_original_files_that_do_not_fit(base: Path, tmp_path: Path, content: dict[str, Any], message: str) -> None:
    torch.save(content, tmp_path / "a.bin")
    model = _model(base)
    before = values(model)
    with pytest.raises(ValueError, match=message):
        start_from_adapter(model, tmp_path / "a.bin")
    assert same_tensors(values(model), before)


class _Evil:
    mark = Path("/nonexistent")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (_Evil.mark,))


def test_an_original_file_that_wants_to_run_code(base: Path, tmp_path: Path) -> None:
    _Evil.mark = tmp_path / "ran"
    model = _model(base)
    path = _legacy(model, tmp_path / "roberta_base_lora_mnli.bin", evil=_Evil())
    with pytest.raises(ValueError, match="could run code and is refused"):
        start_from_adapter(model, path)
    assert not _Evil.mark.exists()


def test_published_names() -> None:
    assert published_settings("a/roberta_base_lora_mnli.bin") == (
        "roberta-base",
        8,
        16,
        ("entailment", "neutral", "contradiction"),
    )
    assert published_settings("roberta_large_lora_stsb.bin") == ("roberta-large", 8, 16, None)
    settings = published_settings("deberta_v2_xxlarge_lora_rte.bin")
    assert settings is not None
    assert settings[:3] == ("microsoft/deberta-v2-xxlarge", 16, 32)
    assert published_settings("roberta_base_mnli_lora.bin") is None


def test_a_published_name_with_another_rank(base: Path, tmp_path: Path) -> None:
    path = _legacy(_model(base), tmp_path / "roberta_base_lora_mnli.bin")
    with pytest.raises(ValueError, match="rank 4, but the published one has 8"):
        read_legacy_adapter(path)


@pytest.fixture(scope="module")
def released(shared_data: Path) -> Path:
    path = shared_data / "microsoft-lora" / "roberta_base_lora_mnli.bin"
    if not path.is_file():
        pytest.skip(f"needs the released adapter ({path} is absent)")
    return path


@pytest.fixture(scope="module")
def roberta_base() -> PreTrainedModel:
    """A model of RoBERTa-base's shape whose frozen part has no storage: nothing is computed with it."""
    with torch.device("meta"):
        labels = dict(enumerate(("entailment", "neutral", "contradiction")))
        config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, id2label=labels)
        config.update({"apply_lora": True, "lora_r": 8, "lora_alpha": 16})
        model = RobertaForSequenceClassification(config)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                setattr(module, name, torch.nn.Parameter(torch.zeros(parameter.shape)))
    return model


def test_the_released_file_loads_whole(released: Path, roberta_base: PreTrainedModel) -> None:
    file = read_legacy_adapter(released)
    assert (file.r, file.lora_alpha, file.base) == (8, 16, "roberta-base")
    trained = {name: p for name, p in roberta_base.named_parameters() if p.requires_grad}
    assert set(file.tensors) == set(trained)
    assert len(trained) == 52
    assert "48 LoRA matrices and its head" in start_from_adapter(roberta_base, released).line
    assert all(torch.equal(trained[name], tensor) for name, tensor in file.tensors.items())


def test_the_released_file_becomes_a_folder(released: Path, roberta_base: PreTrainedModel, tmp_path: Path) -> None:
    start_from_adapter(roberta_base, released)
    roberta_base.save_adapter(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4_000_000
    roberta_base.classifier.out_proj.bias.data.zero_()
    load_adapter_weights(roberta_base, tmp_path)
    wanted = read_legacy_adapter(released).tensors["classifier.out_proj.bias"]
    assert torch.equal(roberta_base.classifier.out_proj.bias, wanted)


def test_the_released_file_with_the_wrong_alpha(released: Path, roberta_base: PreTrainedModel) -> None:
    roberta_base.config.lora_alpha = 8
    try:
        with pytest.raises(ValueError, match="lora_alpha 16, but this run asks for lora_r 8 and lora_alpha 8"):
            start_from_adapter(roberta_base, released)
    finally:
        roberta_base.config.lora_alpha = 16
