"""A base of 4 or 8 bits: what is kept in bits, what is computed, saved, merged, and what is refused.

Values and gradients beside upstream + PEFT: `tests/reference/test_quantized_upstream.py`.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from tiny import LORA, TINY, random_ids, shake, write_base
from torch import Tensor, nn

from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    DebertaV2Config,
    DebertaV2Model,
    LoraConfig,
    PreTrainedModel,
    get_peft_model,
)
from transformers.exporting.static_model import StaticModel
from transformers.layers.quantized import QuantizedLinear, packed_bytes, quantized_layers

pytest.importorskip("bitsandbytes")

BITS: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "fp4-double": {"load_in_4bit": True, "bnb_4bit_use_double_quant": True},
    "int8": {"load_in_8bit": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "roberta")


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "deberta"
    torch.manual_seed(0)
    DebertaV2Model(DebertaV2Config(**DEBERTA)).save_pretrained(folder)
    return folder


def load(folder: Path, bits: str | None = "nf4", **fields: Any) -> PreTrainedModel:
    """Load a classifier, with the same values each time; in full precision where no bits are named."""
    torch.manual_seed(1)
    kept = {} if bits is None else {"quantization_config": BitsAndBytesConfig(**BITS[bits])}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, **kept, **fields)
    if fields.get("apply_lora"):
        shake(model)
    return model


def logits(model: PreTrainedModel, **inputs: Any) -> Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        result: Tensor = model.eval()(random_ids(), **inputs).logits
    return result


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    torch.manual_seed(2)
    model.train()(random_ids(), labels=torch.tensor([0, 1, 1, 0])).loss.backward()
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


# What is kept in bits --------------------------------------------------------------------------------------------


def test_the_linear_layers_of_the_encoder_are_kept_in_bits_and_nothing_else(base: Path, deberta: Path) -> None:
    for folder in (base, deberta):
        model = load(folder, **LORA)
        linear = {path for path, layer in model.base_model.named_modules() if isinstance(layer, nn.Linear)}
        assert {path for path, _ in quantized_layers(model.base_model)} == linear
        assert len(linear) == TINY["num_hidden_layers"] * 6
        assert {each.dtype for name, each in model.named_parameters() if not model.is_base_parameter(name)} == {
            torch.float32
        }
        assert {each.dtype for name, each in model.named_parameters() if ".lora_" in name} == {torch.float32}
        assert model.is_quantized
        assert model.is_loaded_in_4bit
        assert not model.is_loaded_in_8bit


def test_llm_int8_skip_modules_means_layers_as_upstream_means_them(base: Path) -> None:
    kept = BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_skip_modules=["query", "roberta.encoder.layer.1", "que", "0"]
    )
    model = AutoModelForSequenceClassification.from_pretrained(base, quantization_config=kept)
    found = [path for path, _ in quantized_layers(model)]
    assert len(found) == 5
    assert all(".layer.0." in path and not path.endswith("query") for path in found)
    kept = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["roberta"])
    with pytest.raises(ValueError, match="No linear layer of the encoder is left"):
        AutoModelForSequenceClassification.from_pretrained(base, quantization_config=kept)


@pytest.mark.parametrize("bits", BITS)
def test_a_layer_computes_with_the_weight_that_its_bits_stand_for(bits: str) -> None:
    torch.manual_seed(0)
    layer, weight = nn.Linear(24, 40), torch.randn(40, 24)
    layer.__class__ = QuantizedLinear
    assert isinstance(layer, QuantizedLinear)
    layer.quantize(weight, BitsAndBytesConfig(**BITS[bits]))
    full, x = layer.dequantized(), torch.randn(2, 5, 24, requires_grad=True)
    difference = (full - weight).abs()
    tensors = [layer.weight, *layer.buffers()]
    assert packed_bytes(24, 40, layer.quantization) == sum(tensor.nbytes for tensor in tensors)
    assert layer.error.largest == pytest.approx(float(difference.max()))
    assert layer.error.mean == pytest.approx(float(difference.mean()))
    step = weight.abs().max() / 127 if bits == "int8" else weight.abs().max() * 0.19  # half of the widest gap
    assert difference.max() <= step
    layer.train()
    (layer(x) * torch.arange(40)).sum().backward()
    found = x.grad
    assert found is not None
    assert torch.allclose(layer(x), nn.functional.linear(x, full, layer.bias), atol=1e-6)
    assert torch.allclose(found, (torch.arange(40.0) @ full).expand_as(x), atol=1e-3, rtol=1e-5)
    layer.eval()
    near = 0.2 if bits == "int8" else 1e-6  # inputs are rounded too
    assert torch.allclose(layer(x), nn.functional.linear(x, full, layer.bias), atol=near)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("options", [{}, {"lora_target_modules": "all-linear"}, {"lora_use_dora": True}], ids=str)
def test_training_is_that_of_the_dequantised_base(
    base: Path, deberta: Path, bits: str, options: dict[str, Any]
) -> None:
    for folder in (base, deberta):
        model = load(folder, bits, **LORA, **options)
        full = copy.deepcopy(model).dequantize()
        assert not full.is_quantized
        assert not list(quantized_layers(full))
        ours, theirs = gradients(model), gradients(full)
        assert ours.keys() == theirs.keys()
        for name, wanted in theirs.items():
            assert torch.allclose(ours[name], wanted, atol=1e-5, rtol=1e-4), name
        near = 0.05 if bits == "int8" else 1e-5
        assert (logits(model) - logits(full)).abs().max() <= near


@pytest.mark.parametrize(
    "options",
    [
        {"lora_use_rslora": True},
        {"lora_init": "pissa"},
        {"lora_init": "olora"},
        {"lora_bias": "all"},
        {"lora_modules_to_save": ["LayerNorm"]},
        {"lora_target_modules": ["word_embeddings", "query"]},
    ],
    ids=str,
)
def test_every_option_of_lora_works_over_bits(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    model = load(base, **LORA, **options)
    full = copy.deepcopy(model).dequantize()
    ours, theirs = gradients(model), gradients(full)
    assert ours
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5, rtol=1e-4) for name in theirs)
    model.save_adapter(tmp_path / "adapter")
    again = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "adapter", quantization_config=BitsAndBytesConfig(**BITS["nf4"])
    )
    assert torch.allclose(logits(again), logits(model), atol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"apply_adapter": True, "adapter_type": "houlsby", "adapter_size": 8}, {"apply_bitfit": True}], ids=str
)
def test_bottleneck_adapters_and_bitfit_train_over_bits(base: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    model = load(base, **fields)
    shake(model)
    full = copy.deepcopy(model).dequantize()
    ours, theirs = gradients(model), gradients(full)
    assert ours
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5, rtol=1e-4) for name in theirs)
    model.save_adapter(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, load_in_4bit=True)
    assert (logits(again) - logits(load(base, None))).abs().max() > 1e-3


def test_in_bf16_frozen_parts_and_outputs_of_layers_are_bf16(base: Path) -> None:
    model = load(base, "nf4", **LORA)
    model.cast_frozen_parameters(torch.bfloat16)
    layer = model.get_submodule("roberta.encoder.layer.0.output.dense")
    assert layer(torch.ones(3, TINY["intermediate_size"])).dtype == torch.bfloat16
    assert {each.dtype for each in layer.buffers()} == {torch.float32}
    assert (logits(model) - logits(load(base, "nf4", **LORA))).abs().max() < 0.2
    assert model.base_sha256() == load(base, None).base_sha256()
    assert all(torch.isfinite(each).all() for each in gradients(model).values())


# What a base is --------------------------------------------------------------------------------------------------


def test_the_base_is_the_checkpoint_as_it_was_before_it_was_quantised(base: Path) -> None:
    plain, model = load(base, None, **LORA), load(base, "int8", **LORA)
    assert model.base_sha256() == plain.base_sha256()
    assert model.num_parameters() == plain.num_parameters()
    assert model.get_nb_trainable_parameters() == plain.get_nb_trainable_parameters()
    next(quantized_layers(model))[1].weight.data[0, 0] += 1
    assert model.base_sha256() != plain.base_sha256()


def test_an_adapter_says_over_which_bits_it_was_trained_and_fits_others(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(base, "nf4", **LORA)
    model.save_adapter(tmp_path / "nf4")
    load(base, None, **LORA).save_adapter(tmp_path / "plain")
    told = json.loads((tmp_path / "nf4" / "lora_metadata.json").read_text())
    assert told["quantization"]["bnb_4bit_quant_type"] == "nf4"
    assert told["quantization"]["load_in_4bit"]
    assert json.loads((tmp_path / "plain" / "lora_metadata.json").read_text())["quantization"] is None
    with caplog.at_level(logging.WARNING):
        same = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "nf4", quantization_config=BitsAndBytesConfig(**BITS["nf4"])
        )
    assert "trained over" not in caplog.text
    assert torch.equal(logits(same), logits(model))
    over_plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "nf4")
    assert "was trained over a base in 4 bits (NF4), and this one is in full precision" in caplog.text
    assert 1e-6 < (logits(over_plain) - logits(model)).abs().max() < 0.5
    over_bits = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain", load_in_8bit=True)
    assert "was trained over a base in full precision, and this one is in 8 bits" in caplog.text
    assert over_bits.is_loaded_in_8bit
    over_bits.save_adapter(tmp_path / "eight")
    caplog.clear()
    eight = BitsAndBytesConfig(load_in_8bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "eight", quantization_config=eight)
    assert "trained over" not in caplog.text, "what is said of 4 bits does not matter to 8"


def test_layers_that_are_not_there_are_named(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    skipped = ["query", "quarry", "lm_head"]
    bits = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    with caplog.at_level(logging.WARNING):
        AutoModelForSequenceClassification.from_pretrained(base, quantization_config=bits, **LORA)
    told = [name for name in skipped if f"names '{name}', which no layer" in caplog.text]
    assert told == ["quarry", "lm_head"]
    assert str(bits) == "8 bits (without query, quarry, lm_head)"


def test_damaged_metadata_of_bits_are_refused(base: Path, tmp_path: Path) -> None:
    load(base, **LORA).save_adapter(tmp_path)
    path = tmp_path / "lora_metadata.json"
    told = json.loads(path.read_text())
    for damage in ({"load_in_4bit": 4}, {"bnb_4bit_quant_type": "nf5"}, {"load_in_3bit": True}):
        path.write_text(json.dumps({**told, "quantization": {**told["quantization"], **damage}}))
        with pytest.raises(ValueError, match=r"lora_metadata\.json': quantization: "):
            AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_several_adapters_and_mixed_rows_over_bits(base: Path, deberta: Path) -> None:
    for folder, targets in ((base, ["query", "key"]), (deberta, ["query_proj"])):
        model = load(folder, "fp4-double", num_labels=2)
        for name in ("first", "second"):
            model.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=targets), name)
            model.set_adapter(name)
            shake(model, seed=len(name))
        wanted = []
        for name in ("first", "second"):
            model.set_adapter(name)
            wanted.append(logits(model))
        mixed = logits(model, adapter_names=["first", "second", "first", "second"])
        assert torch.allclose(mixed[[0, 2]], wanted[0][[0, 2]], atol=1e-5)
        assert torch.allclose(mixed[[1, 3]], wanted[1][[1, 3]], atol=1e-5)
        with model.disable_adapter():
            without = logits(model)
        assert (without - wanted[0]).abs().max() > 1e-3
        model.unload()
        assert model.is_quantized
        assert list(quantized_layers(model))
        assert torch.equal(logits(copy.deepcopy(model)), logits(model))


def test_get_peft_model_goes_over_bits(base: Path) -> None:
    model = get_peft_model(load(base), LoraConfig(r=2, lora_alpha=4, target_modules="all-linear"))
    assert gradients(model)
    assert model.is_quantized


# Merging, saving, casting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
def test_merging_gives_a_plain_model_and_says_what_quantising_lost(
    base: Path, deberta: Path, tmp_path: Path, bits: str, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in (base, deberta):
        model, plain = load(folder, bits, **LORA), load(folder, None)
        before, error = logits(model), model.quantization_error()
        assert error is not None
        full = {path: layer.dequantized() for path, layer in quantized_layers(model)}
        differences = torch.cat([(full[p] - plain.get_submodule(p).weight).abs().flatten() for p in full])
        assert error.largest == pytest.approx(float(differences.max().detach()))
        assert error.mean == pytest.approx(float(differences.mean().detach()), rel=1e-4)
        with caplog.at_level(logging.WARNING):
            merged = model.merge_and_unload()
        assert f"differ from the checkpoint's by {error.mean:.2g} on average and by {error.largest:.2g}" in caplog.text
        assert (logits(merged) - before).abs().max() <= (0.05 if bits == "int8" else 1e-5)
        assert not merged.is_quantized
        assert merged.quantization_error() is None
        assert merged.base_sha256() != plain.base_sha256()
        merged.save_pretrained(tmp_path / folder.name)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / folder.name)
        assert torch.equal(logits(again), logits(merged))


def test_a_merge_that_is_refused_leaves_the_model_as_it_was(base: Path) -> None:
    model = load(base, **LORA)
    with torch.no_grad():
        model.get_parameter("roberta.encoder.layer.1.attention.self.value.lora_B")[0, 0] = torch.inf
    layers = dict(quantized_layers(model))
    with pytest.raises(ValueError, match="not finite"):
        model.merge_and_unload()
    assert model.is_quantized
    assert dict(quantized_layers(model)) == layers


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda model: model.merge_adapter(), "cannot be merged into it in place"),
        (lambda model: model.half(), "cannot be cast"),
        (lambda model: model.to(torch.bfloat16), "cannot be cast"),
        (lambda model: model.float(), "cannot be cast"),
        (lambda model: model.roberta.half(), "cannot be cast"),
        (lambda model: model.save_pretrained("unused"), "no file of this package holds such weights"),
        (lambda model: model.add_adapter(LoraConfig(modules_to_save=["key"]), "more"), "llm_int8_skip_modules"),
    ],
)
def test_misuse_is_refused_and_changes_nothing(
    base: Path, misuse: Callable[[PreTrainedModel], Any], says: str
) -> None:
    model = load(base, **LORA)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=says):
        misuse(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not Path("unused").exists()


def test_a_state_dict_goes_back_into_the_same_bits_and_into_no_others(base: Path) -> None:
    for bits in BITS:
        model, other = load(base, bits, **LORA), load(base, bits, **LORA)
        shake(other, seed=9)
        next(quantized_layers(other))[1].weight.data.zero_()
        other.load_state_dict(model.state_dict())
        assert torch.equal(logits(other), logits(model))
        with pytest.raises(RuntimeError, match="is kept in"):
            model.load_state_dict(load(base, None, **LORA).state_dict(), strict=False)
    model.to("cpu")


def test_what_is_not_offered_is_refused_in_a_line(base: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"load_in_4bit": True, "load_in_8bit": True}, "both asked for"),
        ({"load_in_4bit": 1}, "true or false"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf5"}, "fp4 or nf4"),
        ({"load_in_4bit": True, "bnb_4bit_compute_dtype": "int8"}, "bnb_4bit_compute_dtype"),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "uint8 alone"),
        ({"load_in_8bit": True, "llm_int8_has_fp16_weight": True}, "not part of this package"),
        ({"load_in_8bit": True, "llm_int8_threshold": -1.0}, "from 0 on"),
        ({"load_in_8bit": True, "llm_int8_skip_modules": "query"}, "a list of layers"),
    ]
    for fields, says in refused:
        with pytest.raises(ValueError, match=says):
            BitsAndBytesConfig(**fields)
    given: list[tuple[dict[str, Any], str]] = [
        ({"quantization_config": {"load_in_4bit": True, "load_in_2bit": 1}}, "load_in_2bit"),
        ({"quantization_config": {"quant_method": "gptq"}}, "'bitsandbytes' alone"),
        ({"quantization_config": BitsAndBytesConfig()}, "neither load_in_4bit nor"),
        ({"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "load_in_4bit": True}, "Take one"),
        ({"quantization_config": 4}, "a BitsAndBytesConfig was expected"),
    ]
    for keywords, says in given:
        with pytest.raises(ValueError, match=says):
            AutoModelForSequenceClassification.from_pretrained(base, **keywords)


def test_upstreams_dictionary_is_understood(base: Path) -> None:
    fields = {
        "_load_in_4bit": True,
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "quant_method": "bitsandbytes",
    }
    fields |= {"bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8"}
    model = AutoModelForSequenceClassification.from_pretrained(base, quantization_config=fields)
    wanted = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    assert model.quantization == wanted == BitsAndBytesConfig.from_dict(wanted.to_dict())


def test_a_checkpoint_of_upstreams_bits_is_refused(base: Path, tmp_path: Path) -> None:
    load(base, None).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="saved in few bits"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_exports_are_of_the_dequantised_weights(base: Path) -> None:
    model = load(base, **LORA)
    static = StaticModel(model)
    assert model.is_quantized
    assert not static.model.is_quantized
    assert (logits(static.model) - logits(model)).abs().max() <= 1e-5
    assert not list(quantized_layers(StaticModel(load(base)).model))


def test_a_layer_that_is_tied_to_the_embeddings_stays_as_it_is(base: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(base, load_in_8bit=True)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model(random_ids()).logits.shape[-1] == TINY["vocab_size"]
