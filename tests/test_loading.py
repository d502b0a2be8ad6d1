"""Loading and saving whole models: every layout of files, what is missing, what is damaged, what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import LORA, TINY, random_ids, same_tensors, shake, tiny_config, values, write_base
from torch import Tensor, nn

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.methods.lora.layers import lora_parameter_names
from transformers.modeling.weights import load_weights, read_tensors, save_weights
from transformers.models.roberta import modeling_roberta

WORDS = "roberta.embeddings.word_embeddings.weight"
HEAD = [f"classifier.{layer}.{name}" for layer in ("dense", "out_proj") for name in ("weight", "bias")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


def _edit(source: Path, target: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    """Copy a checkpoint with other tensors."""
    target.mkdir()
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    save_file(change(load_file(source / "model.safetensors")), target / "model.safetensors")
    return target


# Files --------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "safetensors": {},
    "safetensors-shards": {"max_shard_size": "10KB"},
    "legacy": {"safe_serialization": False},
    "legacy-shards": {"safe_serialization": False, "max_shard_size": "10KB"},
}


@pytest.mark.parametrize("model_class", [RobertaModel, RobertaForMaskedLM, RobertaForSequenceClassification])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(tmp_path: Path, layout: str, model_class: type[PreTrainedModel]) -> None:
    model = model_class(tiny_config()).eval()
    model.save_pretrained(tmp_path, **LAYOUTS[layout])
    assert (len(list(tmp_path.iterdir())) > 3) == ("shards" in layout), "the size of a shard was not honoured"
    loaded, report = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert report == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}
    assert same_tensors(values(loaded), values(model))
    assert not loaded.training
    assert loaded.config.architectures == [model_class.__name__]


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_a_later_save_replaces_an_earlier_one(tmp_path: Path, first: str, second: str) -> None:
    old, new = RobertaModel(tiny_config()), RobertaModel(tiny_config())
    old.save_pretrained(tmp_path, **LAYOUTS[first])
    new.save_pretrained(tmp_path, **LAYOUTS[second])
    assert same_tensors(load_weights(tmp_path), values(new))


def test_a_model_is_saved_over_the_files_it_came_from(tmp_path: Path) -> None:
    model = RobertaModel.from_pretrained(write_base(tmp_path / "base"))
    shake(model)
    before = values(model)
    model.save_pretrained(tmp_path / "base")
    assert same_tensors(values(model), before)
    assert same_tensors(load_weights(tmp_path / "base"), before)


def test_tied_weights_are_saved_once_and_tied_again(tmp_path: Path) -> None:
    RobertaForMaskedLM(tiny_config()).save_pretrained(tmp_path)
    assert not [name for name in load_weights(tmp_path) if "decoder" in name]
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert loaded.lm_head.decoder.weight is loaded.get_input_embeddings().weight
    assert loaded.lm_head.decoder.bias is loaded.lm_head.bias
    renamed = _edit(tmp_path, tmp_path / "alias", lambda t: {"lm_head.decoder.bias": t.pop("lm_head.bias"), **t})
    assert torch.equal(RobertaForMaskedLM.from_pretrained(renamed).lm_head.bias, loaded.lm_head.bias)


def test_untied_weights_stay_apart(tmp_path: Path) -> None:
    model = RobertaForMaskedLM(tiny_config(tie_word_embeddings=False))
    model.save_pretrained(tmp_path)
    loaded = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert same_tensors(values(loaded), values(model))
    assert loaded.lm_head.decoder.weight is not loaded.get_input_embeddings().weight


def test_a_transposed_parameter_is_saved(tmp_path: Path) -> None:
    model = RobertaModel(tiny_config())
    model.pooler.dense.weight = nn.Parameter(torch.randn(32, 32).t())
    model.save_pretrained(tmp_path)
    assert torch.equal(RobertaModel.from_pretrained(tmp_path).pooler.dense.weight, model.pooler.dense.weight)


def test_given_tensors_are_used_and_not_shared(base: Path) -> None:
    tensors = {name: tensor + 1 for name, tensor in load_weights(base).items()}
    model = RobertaModel.from_pretrained(base, add_pooling_layer=False, state_dict=tensors)
    assert same_tensors(values(model), tensors)
    shake(model)
    assert not torch.equal(model.get_input_embeddings().weight, tensors["embeddings.word_embeddings.weight"])


def test_saving_other_tensors_and_no_configuration(tmp_path: Path) -> None:
    model = RobertaModel(tiny_config())
    zeros = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, save_config=False, state_dict=zeros)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert same_tensors(load_weights(tmp_path), zeros)


# Names --------------------------------------------------------------------------------------------------------


def test_prefix_is_added_and_taken_away(base: Path, tmp_path: Path) -> None:
    bare = load_weights(base)
    classifier, report = RobertaForSequenceClassification.from_pretrained(base, output_loading_info=True)
    assert all(torch.equal(classifier.get_parameter(f"roberta.{name}"), tensor) for name, tensor in bare.items())
    assert (sorted(report["missing_keys"]), report["unexpected_keys"]) == (sorted(HEAD), [])
    classifier.save_pretrained(tmp_path)
    encoder, report = RobertaModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert same_tensors(values(encoder), bare)
    assert (report["missing_keys"], sorted(report["unexpected_keys"])) == ([], sorted(HEAD))


def test_old_names(base: Path, tmp_path: Path) -> None:
    def age(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        }
        assert len(set(old) - set(tensors)) == 10
        return {**old, "embeddings.position_ids": torch.arange(24)[None]}

    folder = _edit(base, tmp_path / "old", age)
    loaded, report = RobertaModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert same_tensors(values(loaded), load_weights(base))


def test_missing_names_by_their_part(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost = "encoder.layer.1.output.dense.bias"
    folder = _edit(base, tmp_path / "torn", lambda t: {n: v for n, v in t.items() if n != lost} | {"extra": v1(t)})
    model, report = RobertaForSequenceClassification.from_pretrained(folder, **LORA, output_loading_info=True)
    assert set(report["missing_keys"]) == {f"roberta.{lost}", *HEAD, *lora_parameter_names(model)}
    assert report["unexpected_keys"] == ["extra"], "named as in the file"
    assert model.get_parameter(f"roberta.{lost}").requires_grad, "what the base did not provide is trained"
    assert not model.get_parameter(WORDS).requires_grad


def v1(tensors: dict[str, Tensor]) -> Tensor:
    """Give any small tensor."""
    return next(iter(tensors.values()))[:1].clone()


def test_parts_are_said_apart(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        folder = _edit(base, tmp_path / "torn", lambda t: {n: v for n, v in t.items() if "layer.1.output" not in n})
        RobertaForSequenceClassification.from_pretrained(folder, **LORA)
    finally:
        logging.set_verbosity_warning()
    lines = capsys.readouterr().err.splitlines()
    said = {key: next(line for line in lines if key in line) for key in ("encoder's", "head's", "Adapters at their")}
    assert "roberta.encoder.layer.1.output.dense.weight" in said["encoder's"]
    assert "classifier" not in said["encoder's"]
    assert "classifier.out_proj.weight" in said["head's"]
    assert "8 tensors" in said["Adapters at their"]


def test_another_models_checkpoint_is_refused(base: Path, tmp_path: Path) -> None:
    folder = _edit(base, tmp_path / "other", lambda t: {f"transformer.h.{name}": v for name, v in t.items()})
    with pytest.raises(ValueError, match=r"none of this model's parameters; its names begin transformer\.h\."):
        RobertaForSequenceClassification.from_pretrained(folder)


def test_mis_shaped_names_are_refused_or_start_anew(base: Path, tmp_path: Path) -> None:
    saved = tmp_path / "three"
    RobertaForSequenceClassification.from_pretrained(base, num_labels=3).save_pretrained(saved)
    with pytest.raises(ValueError, match=r"classifier\.out_proj\.weight: \(3, 32\) there, \(2, 32\) here") as error:
        AutoModelForSequenceClassification.from_pretrained(saved, num_labels=2)
    assert "classifier.out_proj.bias" in str(error.value)
    assert "classifier.dense" not in str(error.value)
    model, report = AutoModelForSequenceClassification.from_pretrained(
        saved, num_labels=2, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert ("classifier.out_proj.bias", (3,), (2,)) in report["mismatched_keys"]
    assert model(random_ids()).logits.shape == (4, 2)
    assert not model.classifier.out_proj.bias.any()


# Starting values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", [RobertaModel, RobertaForMaskedLM])
def test_nothing_is_drawn_for_what_the_file_holds(tmp_path: Path, model_class: type[PreTrainedModel]) -> None:
    model_class(tiny_config()).save_pretrained(tmp_path)
    state = torch.get_rng_state()
    model_class.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_heads_matrices_are_drawn(base: Path) -> None:
    torch.manual_seed(5)
    model = RobertaForSequenceClassification.from_pretrained(base)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    for drawn in (model.classifier.dense.weight, model.classifier.out_proj.weight):
        assert torch.equal(torch.empty_like(drawn).normal_(0, 0.2), drawn)
    assert torch.equal(torch.get_rng_state(), state)


def test_new_values_have_the_right_distribution(base: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base, initializer_range=0.05)
    assert float(model.classifier.dense.weight.detach().std()) == pytest.approx(0.05, rel=0.15)
    assert not model.classifier.dense.bias.any()
    embeddings = RobertaModel(tiny_config()).embeddings
    assert not embeddings.word_embeddings.weight[1].any(), "the padding word starts at zero"
    assert bool((embeddings.LayerNorm.weight == 1).all())


# Precision ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("half") / "bf16"
    return _edit(base, target, lambda t: {name: tensor.bfloat16() for name, tensor in t.items()})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, torch.float32),
        ({"dtype": "auto"}, torch.bfloat16),
        ({"torch_dtype": "auto"}, torch.bfloat16),
        ({"dtype": torch.float16}, torch.float16),
        ({"torch_dtype": "float16"}, torch.float16),
        ({"dtype": "torch.bfloat16"}, torch.bfloat16),
    ],
)
def test_dtype_choice(half: Path, wanted: dict[str, Any], expected: torch.dtype) -> None:
    plain = RobertaForSequenceClassification.from_pretrained(half, **wanted)
    assert {parameter.dtype for parameter in plain.parameters()} == {expected}
    assert plain.dtype == expected
    lora = RobertaForSequenceClassification.from_pretrained(half, **wanted, **LORA)
    for name, parameter in lora.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else expected), name


@pytest.mark.parametrize("wanted", ["bfloat17", "nn", 3])
def test_dtypes_that_are_none(base: Path, wanted: Any) -> None:
    with pytest.raises(ValueError, match="a torch dtype, its name"):
        RobertaModel.from_pretrained(base, dtype=wanted)


def test_half_precision_is_saved_as_such(half: Path, tmp_path: Path) -> None:
    RobertaModel.from_pretrained(half, dtype="auto", add_pooling_layer=False).save_pretrained(tmp_path)
    assert same_tensors(load_weights(tmp_path), load_weights(half))
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


# Damage -------------------------------------------------------------------------------------------------------


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (_Evil.mark,))

    mark = Path("/nonexistent")


def test_a_pickle_that_wants_to_run_code_is_refused(base: Path, tmp_path: Path) -> None:
    _Evil.mark = tmp_path / "code-was-run"
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    for number, write in enumerate((lambda path: torch.save({"a": _Evil()}, path), _write_pickle)):
        write(tmp_path / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"pytorch_model\.bin' cannot be read as a state dict"):
            RobertaModel.from_pretrained(tmp_path)
        assert not _Evil.mark.exists(), number


def _write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": _Evil()}, protocol=2))


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
def test_pickles_that_are_no_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_tensors(tmp_path / "a.bin")


def test_a_trainers_wrapper_around_the_state_dict_is_opened(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "a.bin")
    assert torch.equal(read_tensors(tmp_path / "a.bin")["a"], torch.ones(2))


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1, -1000])
@pytest.mark.parametrize("layout", ["safetensors", "legacy"])
def test_truncated_files(tmp_path: Path, layout: str, keep: int) -> None:
    RobertaModel(tiny_config()).save_pretrained(tmp_path, **LAYOUTS[layout])
    path = tmp_path / ("model.safetensors" if layout == "safetensors" else "pytorch_model.bin")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=path.name):
        RobertaModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("place", [0, 3, 7, 8, 9, 40, 200])
def test_flipped_bits_in_the_header(tmp_path: Path, place: int) -> None:
    RobertaModel(tiny_config()).save_pretrained(tmp_path)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[place] ^= 0x80
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        RobertaModel.from_pretrained(tmp_path)


def test_shards_that_are_incomplete(tmp_path: Path) -> None:
    RobertaModel(tiny_config()).save_pretrained(tmp_path, max_shard_size="10KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    shard = sorted(set(content["weight_map"].values()))[0]
    index.write_text(json.dumps({**content, "weight_map": {**content["weight_map"], "ghost": shard}}))
    with pytest.raises(ValueError, match="1 tensors that its files do not hold, such as 'ghost'"):
        RobertaModel.from_pretrained(tmp_path)
    index.write_text(json.dumps(content))
    (tmp_path / shard).unlink()
    with pytest.raises(OSError, match=f"names the file '{shard}'"):
        RobertaModel.from_pretrained(tmp_path)
    index.write_text("{}")
    with pytest.raises(ValueError, match="weight_map"):
        RobertaModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", 3, None])
def test_an_index_that_points_outside(tmp_path: Path, shard: Any) -> None:
    folder = tmp_path / "model"
    RobertaModel(tiny_config()).save_pretrained(folder)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    names = list(load_file(tmp_path / "outside.safetensors"))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, shard)}))
    with pytest.raises(ValueError, match="a file in the model's own folder was expected"):
        RobertaModel.from_pretrained(folder)


def test_where_there_are_no_weights(tmp_path: Path) -> None:
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"holds no weights; expected model\.safetensors or pytorch_model\.bin"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("options", [{"from_tf": True}, {"trust_remote_code": True}, {"device_map": "auto"}])
def test_upstream_options_that_are_not_here(base: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        RobertaModel.from_pretrained(base, **options)


def test_upstream_options_that_change_nothing(base: Path) -> None:
    RobertaModel.from_pretrained(
        base, low_cpu_mem_usage=True, use_safetensors=True, attn_implementation="sdpa", from_tf=False, device_map=None
    )


def test_saving_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = RobertaModel(tiny_config())
    with pytest.raises(OSError, match="is a file"):
        model.save_pretrained(tmp_path / "file")


def test_a_model_is_not_made_from_a_name(base: Path) -> None:
    with pytest.raises(TypeError, match="from_pretrained"):
        RobertaModel(str(base))  # type: ignore[arg-type]


# Structure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [{}, LORA], ids=["plain", "lora"])
def test_state_dict_is_the_same_in_both_modes(base: Path, lora: dict[str, Any]) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base, **lora)
    shake(model)
    before = values(model.train())
    model(random_ids(), labels=torch.tensor([0, 1, 1, 0])).loss.backward()
    assert same_tensors(values(model.eval()), before)


def test_a_whole_lora_model_is_saved_and_loaded(base: Path, tmp_path: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base, **LORA)
    shake(model)
    model.save_pretrained(tmp_path)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert same_tensors(values(loaded), values(model))
    assert loaded.base_sha256() == model.base_sha256(), "the base is the same, whatever was trained"
    trained = [{n for n, p in each.named_parameters() if p.requires_grad} for each in (model, loaded)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize("words", [40, 61, 70])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_resized_vocabulary(tmp_path: Path, words: int, tied: bool) -> None:
    model = RobertaForMaskedLM(tiny_config(tie_word_embeddings=tied)).eval()
    for parameter in model.lm_head.parameters():
        nn.init.normal_(parameter)
    ids = random_ids(vocab_size=min(words, 61))
    before = model(ids).logits
    assert model.resize_token_embeddings(words) is model.get_input_embeddings()
    after = model(ids).logits
    assert after.shape[-1] == words == model.config.vocab_size
    kept = min(words, 61)
    torch.testing.assert_close(after[..., :kept], before[..., :kept])
    assert (model.lm_head.decoder.weight is model.get_input_embeddings().weight) == tied
    model.save_pretrained(tmp_path)
    assert torch.equal(RobertaForMaskedLM.from_pretrained(tmp_path)(ids).logits, after)


def test_a_vocabulary_without_its_padding_word_is_refused() -> None:
    with pytest.raises(ValueError, match="padding token's id, 1"):
        RobertaModel(tiny_config()).resize_token_embeddings(1)


@pytest.mark.parametrize("lora", [{}, {**LORA, "lora_dropout": 0.2}], ids=["plain", "lora"])
def test_gradient_checkpointing_changes_no_gradient(lora: dict[str, Any]) -> None:
    model = RobertaForSequenceClassification(tiny_config(hidden_dropout_prob=0.3, **lora)).train()
    ids, labels = random_ids(), torch.tensor([0, 1, 1, 0])
    gradients = []
    for enable in (False, True, False):
        (model.gradient_checkpointing_enable if enable else model.gradient_checkpointing_disable)()
        assert model.is_gradient_checkpointing == enable
        torch.manual_seed(7)
        model.zero_grad()
        model(ids, labels=labels).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert same_tensors(gradients[0], gradients[1])
    assert same_tensors(gradients[0], gradients[2])
    assert gradients[0]


def test_counts(base: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base, **LORA)
    tables = (61 + 24 + 2) * 32
    assert model.num_parameters() - model.num_parameters(exclude_embeddings=True) == tables
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert model.num_parameters(only_trainable=True) == trained == 4 * 2 * 4 * 32 + 32 * 33 + 2 * 33


def test_saved_weights_do_not_depend_on_the_format(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16()}
    for safe in (True, False):
        folder = tmp_path / str(safe)
        folder.mkdir()
        save_weights(tensors, folder, safe=safe)
        assert same_tensors(load_weights(folder), tensors)


# As in 4.4.2 ----------------------------------------------------------------------------------------------------


def test_tensors_and_configuration_without_a_name(base: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base)
    again = RobertaForSequenceClassification.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    assert same_tensors(values(again), values(model))
    assert again.name_or_path == str(base)
    with pytest.raises(ValueError, match="both config=… and state_dict=…"):
        RobertaModel.from_pretrained(None, config=model.config)
    with pytest.raises(ValueError, match="both config=… and state_dict=…"):
        RobertaModel.from_pretrained(None, state_dict=model.state_dict())


@pytest.mark.parametrize("name", ["model.bin", "model.safetensors"])
def test_a_file_of_tensors_beside_a_configuration(base: Path, tmp_path: Path, name: str) -> None:
    model = RobertaModel.from_pretrained(base)
    write = torch.save if name.endswith(".bin") else save_file
    write(model.state_dict(), tmp_path / name)
    again = RobertaModel.from_pretrained(tmp_path / name, config=model.config)
    assert same_tensors(values(again), values(model))


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForMaskedLM])
@pytest.mark.parametrize("fields", [{}, {"model_type": "deberta-v2"}], ids=["roberta", "deberta"])
def test_a_strict_load_of_a_state_dict_with_positions(auto: Any, fields: dict[str, Any]) -> None:
    config = AutoConfig.for_model(**{"model_type": "roberta", **TINY, **fields})
    holder = nn.ModuleDict({"inner": auto.from_config(config)})  # as in a module of the caller's own
    prefix = "" if auto is AutoModel else f"{holder['inner'].base_model_prefix}."
    name = f"inner.{prefix}embeddings.position_ids"
    given = {**holder.state_dict(), name: torch.arange(24)[None]}
    holder.load_state_dict(given)
    assert name in given, "the caller's mapping is its own"
    copy.deepcopy(holder).load_state_dict(given)
    with pytest.raises(RuntimeError, match="Unexpected"):
        holder.load_state_dict({**given, f"inner.{prefix}embeddings.other": torch.zeros(1)})


def test_other_shapes_are_either_error(base: Path, tmp_path: Path) -> None:
    RobertaForSequenceClassification.from_pretrained(base).save_pretrained(tmp_path)
    for error in (RuntimeError, ValueError):
        with pytest.raises(error, match="another shape"):
            RobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5)


@pytest.mark.parametrize("how", ["keyword", "field", "file", "later"])
def test_recomputing_is_switched_on_by_the_configuration(
    base: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "keyword":
        model = AutoModel.from_pretrained(base, gradient_checkpointing=True)
    else:
        config = AutoConfig.from_pretrained(base)
        config.gradient_checkpointing = how != "later"
        model = AutoModel.from_pretrained(base, config=config)
        if how == "file":
            model.save_pretrained(tmp_path)
            model = AutoModel.from_pretrained(tmp_path)
        model.config.gradient_checkpointing = True
    recomputed: list[object] = []
    run = modeling_roberta.checkpoint

    def note(layer: nn.Module, *arguments: Any, **options: Any) -> Any:
        recomputed.append(layer)
        return run(layer, *arguments, **options)

    monkeypatch.setattr(modeling_roberta, "checkpoint", note)
    assert model.is_gradient_checkpointing
    model.train()(random_ids())
    assert recomputed == list(model.encoder.layer)
    model.gradient_checkpointing_disable()
    model(random_ids())
    assert len(recomputed) == 2
    assert not model.is_gradient_checkpointing


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of what a process has mapped")
def test_tensors_that_are_read_by_themselves_give_their_memory_back_one_by_one(base: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(base / "model.safetensors"))

    whole = load_weights(base)
    assert mapped() == 1
    wanted = {name: tensor.clone() for name, tensor in whole.items()}
    del whole
    apart = load_weights(base, each_by_itself=True)
    assert same_tensors(apart, wanted)
    number = mapped()
    assert number == len(apart)
    for left, tensor in enumerate(apart.values(), start=1):
        tensor.data = tensor.new_empty(0)  # as `quantize_layers` does; the mapping knows of it still
        assert mapped() == number - left
