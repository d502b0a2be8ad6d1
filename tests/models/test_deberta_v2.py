"""DeBERTa-V2 and V3: published configurations, switches, padding, LoRA's two meanings, precision, memory."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    PreTrainedModel,
)
from transformers.layers.dropout import Dropout
from transformers.methods.lora.layers import lora_parameter_names
from transformers.models.deberta_v2.modeling_deberta_v2 import StableDropout
from transformers.models.deberta_v2.relative_positions import table_rows

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
    "relative_attention": True,
    "position_buckets": 8,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "layer_norm_eps": 1e-5,
}
CONV = {"conv_kernel_size": 3, "conv_act": "gelu"}
LORA = {"apply_lora": True, "lora_r": 4, "lora_alpha": 8}

# What the config.json files of the hub say beyond the defaults, and the encoder's size in millions of values.
SHARED: dict[str, Any] = {
    "model_type": "deberta-v2",
    "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-7,
    "max_position_embeddings": 512,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "pad_token_id": 0,
    "pooler_dropout": 0,
    "pooler_hidden_act": "gelu",
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "position_buckets": 256,
    "relative_attention": True,
    "share_att_key": True,
    "type_vocab_size": 0,
    "vocab_size": 128100,
}
V2 = {**SHARED, "hidden_size": 1536, "intermediate_size": 6144, "num_attention_heads": 24, "attention_head_size": 64}
V2 |= {"conv_kernel_size": 3, "conv_act": "gelu", "pooler_hidden_size": 1536}
XXL = {**V2, "num_hidden_layers": 48}


def _v3(layers: int, size: int, heads: int, **changes: Any) -> dict[str, Any]:
    sizes = {"num_hidden_layers": layers, "hidden_size": size, "num_attention_heads": heads}
    return {**SHARED, **sizes, "intermediate_size": 4 * size, "pooler_hidden_size": size, **changes}


PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "deberta-v2-xlarge": ({**V2, "num_hidden_layers": 24}, 885),
    "deberta-v2-xxlarge": (XXL, 1565),
    "deberta-v3-xsmall": (_v3(12, 384, 6), 71),
    "deberta-v3-small": (_v3(6, 768, 12), 141),
    "deberta-v3-base": (_v3(12, 768, 12), 184),
    "deberta-v3-large": (_v3(24, 1024, 16), 434),
    "mdeberta-v3-base": (_v3(12, 768, 12, vocab_size=251000), 278),
}


def _config(**changes: Any) -> DebertaV2Config:
    return DebertaV2Config(**{**TINY, **changes})


def _classifier(**changes: Any) -> DebertaV2ForSequenceClassification:
    torch.manual_seed(0)
    return DebertaV2ForSequenceClassification(_config(num_labels=3, **changes)).eval()


def _shake_lora(model: nn.Module) -> None:
    """Give lora_B values, as training would."""
    for name in lora_parameter_names(model):
        nn.init.normal_(model.get_parameter(name), std=0.2)


def _batch(rows: int = 4, length: int = 11) -> dict[str, Tensor]:
    """Rows with padding on the right, on the left, with a hole, and full."""
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[1, length - 4 :] = 0
    mask[2, :3] = 0
    mask[3, 5] = 0
    return {"input_ids": torch.randint(5, 61, (rows, length)), "attention_mask": mask}


def _logits(model: PreTrainedModel, **inputs: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits
    return logits


# Configurations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_load(name: str, tmp_path: Path) -> None:
    content, millions = PUBLISHED[name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = AutoConfig.from_pretrained(tmp_path, num_labels=3)
    assert isinstance(config, DebertaV2Config)
    assert config.pos_att_type == ["p2c", "c2p"]
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
        AutoModelForMaskedLM.from_config(config)
    assert round(model.base_model.num_parameters() / 1e6) == millions
    assert (model.deberta.encoder.conv is not None) == name.startswith("deberta-v2")
    config.save_pretrained(tmp_path / "again")
    again = AutoConfig.from_pretrained(tmp_path / "again")
    again.name_or_path = config.name_or_path
    assert again == config


def test_xxl_has_4_718_592_lora_values() -> None:
    config = DebertaV2Config(**XXL, apply_lora=True, lora_r=16, lora_alpha=32)
    with torch.device("meta"):
        model = DebertaV2ForSequenceClassification(config)
    lora = lora_parameter_names(model)
    assert sum(model.get_parameter(name).numel() for name in lora) == 4_718_592
    head = {name for name, parameter in model.named_parameters() if parameter.requires_grad} - lora
    assert head == {"pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias"}


def test_defaults_are_those_of_4_4_2(shared_data: Path) -> None:
    api = json.loads((shared_data / "microsoft-lora" / "api-4.4.2.json").read_text())
    methods = api["models.deberta_v2.configuration_deberta_v2"]["DebertaV2Config"]["methods"]
    arguments = ast.parse(f"lambda {methods['__init__'][1:-1]}: 0").body[0].value.args  # type: ignore[attr-defined]
    config = DebertaV2Config()
    for argument, default in zip(arguments.args, arguments.defaults, strict=True):
        assert getattr(config, argument.arg) == ast.literal_eval(default), argument.arg


@pytest.mark.parametrize("written", ["p2c|c2p", "P2C | c2p", ["p2c", "c2p"], ("p2c", "c2p")])
def test_both_ways_to_write_position_terms(written: Any) -> None:
    assert _config(pos_att_type=written).pos_att_type == ["p2c", "c2p"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pos_att_type": "p2c|c2c"}, "'c2c'"),
        ({"pos_att_type": ["p2p"]}, "'p2p'"),
        ({"relative_attention": False}, "relative_attention is not set"),
        ({"position_buckets": 1}, "position_buckets is 1"),
        ({"position_buckets": 100}, "from 2 to 45"),
        ({"norm_rel_ebd": "batch_norm"}, "norm_rel_ebd"),
        ({"num_attention_heads": 5}, "do not divide"),
        ({"attention_head_size": 16}, "attention_head_size is 16"),
        ({"pooler_hidden_size": 64}, "pooler_hidden_size is 64"),
        ({"conv_kernel_size": 4}, "conv_kernel_size is 4"),
        ({"conv_kernel_size": 3, "conv_groups": 5}, "conv_groups is 5"),
        ({"cls_dropout": 1.0}, "cls_dropout"),
        ({"hidden_dropout_prob": -0.1}, "hidden_dropout_prob"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _config(**changes)


def test_narrow_embeddings_do_not_fit_the_newer_head() -> None:
    with pytest.raises(ValueError, match="legacy"):
        DebertaV2ForMaskedLM(_config(embedding_size=20, legacy=False))


def test_auto_classes_know_deberta() -> None:
    config = _config()
    assert type(AutoModel.from_config(config)) is DebertaV2Model
    assert type(AutoModelForMaskedLM.from_config(config)) is DebertaV2ForMaskedLM
    assert type(AutoModelForSequenceClassification.from_config(config)) is DebertaV2ForSequenceClassification


@pytest.mark.parametrize(("cls_dropout", "wanted"), [(None, 0.3), (0.0, 0.0), (0.15, 0.15)])
def test_each_dropout_has_its_rate(cls_dropout: float | None, wanted: float) -> None:
    model = DebertaV2ForSequenceClassification(
        _config(
            hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2, pooler_dropout=0.05, cls_dropout=cls_dropout
        )
    )
    rates = {name: module.p for name, module in model.named_modules() if isinstance(module, Dropout)}
    assert rates.pop("dropout") == wanted
    assert rates.pop("pooler.dropout") == 0.05
    attention = [rates.pop(f"deberta.encoder.layer.{number}.attention.self.dropout") for number in range(3)]
    assert attention == [0.2] * 3
    assert set(rates.values()) == {0.3}
    assert len(rates) == 1 + 3 * 3  # embeddings; positions and two sub-layers of each layer


def test_dropout_works_in_training_only() -> None:
    model = _classifier(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, **CONV)
    batch = _batch()
    assert torch.equal(_logits(model, **batch), _logits(model, **batch))
    model.train()
    torch.manual_seed(1)
    first = _logits(model, **batch)
    assert not torch.equal(first, _logits(model, **batch))
    torch.manual_seed(1)
    assert torch.equal(first, _logits(model, **batch))


# Padding ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5))
def test_padding_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    """Each row (its length, padding on the left, least padding on the right) alone equals itself in the batch."""
    torch.manual_seed(0)
    model = DebertaV2Model(_config(**CONV)).eval()
    length = max(sum(row) for row in rows)
    input_ids, mask = torch.randint(5, 61, (len(rows), length)), torch.zeros(len(rows), length)
    for row, (count, left, _) in enumerate(rows):
        mask[row, left : left + count] = 1
    with torch.no_grad():
        together = model(input_ids, mask).last_hidden_state
        assert bool((together[mask == 0] == 0).all())
        for row, (count, left, _) in enumerate(rows):
            alone = model(input_ids[row : row + 1, left : left + count]).last_hidden_state[0]
            torch.testing.assert_close(together[row, left : left + count], alone, atol=1e-4, rtol=1e-4)


def test_what_stands_in_a_hole_does_not_matter() -> None:
    model, batch = _classifier(**CONV), _batch()
    before = _logits(model, **batch)
    batch["input_ids"] = torch.where(batch["attention_mask"] == 0, 7, batch["input_ids"])
    assert torch.equal(before, _logits(model, **batch))


@pytest.mark.parametrize("changes", [{}, CONV, {**CONV, "num_hidden_layers": 1}, {"pos_att_type": None}])
def test_first_token_alone_equals_the_whole_last_layer(changes: dict[str, Any]) -> None:
    model, batch = _classifier(**changes), _batch()
    with torch.no_grad():
        whole = model(**batch, output_hidden_states=True)
    torch.testing.assert_close(_logits(model, **batch), whole.logits, atol=1e-5, rtol=1e-5)
    assert len(whole.hidden_states) == model.config.num_hidden_layers + 1


def test_a_row_without_tokens_gives_finite_numbers() -> None:
    model, batch = _classifier(**CONV), _batch()
    before = _logits(model, **batch)
    batch["attention_mask"][1] = 0
    after = _logits(model, **batch)
    assert bool(after.isfinite().all())
    torch.testing.assert_close(after[[0, 2, 3]], before[[0, 2, 3]], atol=1e-5, rtol=1e-5)


def test_embeddings_instead_of_ids_and_positions_by_hand() -> None:
    torch.manual_seed(0)
    model = DebertaV2Model(_config(position_biased_input=True, embedding_size=20)).eval()
    batch = _batch()
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    with torch.no_grad():
        wanted = model(**batch).last_hidden_state
        mask = batch["attention_mask"]
        columns = torch.arange(mask.shape[1])[None]
        for inputs in ({"inputs_embeds": embeddings}, {"input_ids": batch["input_ids"], "position_ids": columns}):
            assert torch.equal(model(attention_mask=mask, **inputs).last_hidden_state, wanted)
        moved = model(**batch, position_ids=columns + 1).last_hidden_state
    assert not torch.allclose(moved, wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "exactly one"),
        ({"input_ids": torch.zeros(1, 3).long(), "inputs_embeds": torch.zeros(1, 3, 32)}, "exactly one"),
        ({"input_ids": torch.zeros(3).long()}, "shape"),
        ({"input_ids": torch.zeros(2, 3).long(), "attention_mask": torch.ones(2, 4)}, "attention_mask"),
        ({"input_ids": torch.zeros(2, 3).long(), "attention_mask": torch.ones(2, 3, 3)}, "attention_mask"),
        ({"input_ids": torch.zeros(1, 25).long()}, "24 absolute positions"),
    ],
)
def test_bad_inputs_are_refused(inputs: dict[str, Tensor], message: str) -> None:
    model = DebertaV2Model(_config(position_biased_input=True))
    with pytest.raises(ValueError, match=message):
        model(**inputs)


def test_long_texts_are_fine_without_absolute_positions() -> None:
    assert DebertaV2Model(_config())(torch.full((1, 60), 7)).last_hidden_state.shape == (1, 60, 32)


# Position projections -----------------------------------------------------------------------------------------


def test_positions_are_projected_once_a_layer_and_only_those_that_occur() -> None:
    model = _classifier()
    rows: list[int] = []
    for layer in model.deberta.encoder.layer:
        layer.attention.self.key_proj.register_forward_hook(lambda _module, args, _output: rows.append(len(args[0])))
    _logits(model, input_ids=torch.randint(5, 61, (6, 9)))
    used = table_rows(9, 8, 8, 24).unique().numel()
    assert used < 17  # far ones of the distances -8 … 8 share a bucket
    assert rows == [6 * 9, used] * 3


# LoRA ---------------------------------------------------------------------------------------------------------


def _merge(attention: Any) -> None:
    """Fold the updates of one attention block into its weights, and switch them off."""
    for layer in (attention.query_proj, attention.value_proj):
        layer.weight.data += layer.scaling * layer.lora_B.data @ layer.lora_A.data
        layer.lora_B.data.zero_()


@pytest.mark.parametrize("position_query", [False, True])
def test_what_lora_means_for_the_shared_position_query(position_query: bool) -> None:
    """True is a shared projection that is adapted; False one that is untied, the positions' staying the base's."""
    model = _classifier(**LORA, lora_position_query=position_query)
    _shake_lora(model)
    batch = _batch()
    wanted = _logits(model, **batch)
    plain = _classifier(share_att_key=position_query)
    state = model.state_dict()
    for number, layer in enumerate(model.deberta.encoder.layer):
        path = f"deberta.encoder.layer.{number}.attention.self"
        for projection in ("query", "key"):
            for name in ("weight", "bias"):
                base = state[f"{path}.{projection}_proj.{name}"].clone()
                state[f"{path}.pos_{projection}_proj.{name}"] = base
        _merge(layer.attention.self)
    state |= {name: value for name, value in model.state_dict().items() if ".pos_" not in name}
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    torch.testing.assert_close(_logits(plain, **batch), wanted, atol=1e-4, rtol=1e-4)


def test_the_two_meanings_differ() -> None:
    models = [_classifier(**LORA, lora_position_query=meaning) for meaning in (False, True)]
    batch = _batch()
    torch.testing.assert_close(*(_logits(model, **batch) for model in models))  # lora_B is zero
    for model in models:
        torch.manual_seed(3)
        _shake_lora(model)
    first, second = (_logits(model, **batch) for model in models)
    assert float((first - second).abs().max()) > 1e-2


def test_new_lora_matrices() -> None:
    model = DebertaV2ForSequenceClassification(_config(**{**LORA, "lora_r": 32}, hidden_size=64))
    for name in lora_parameter_names(model):
        matrix = model.get_parameter(name)
        assert float(matrix.detach().std()) == pytest.approx(0.2, rel=0.1) if name.endswith("A") else not matrix.any()
    targets = {name.split(".")[-2] for name in lora_parameter_names(model)}
    assert targets == {"query_proj", "value_proj"}


def test_gradients_reach_lora_and_head_alone() -> None:
    model = _classifier(**LORA, **CONV).train()
    _shake_lora(model)
    model(**_batch(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    head = {"pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert with_gradient == lora_parameter_names(model) | head


def test_adapter_holds_the_pooler_and_comes_back(tmp_path: Path) -> None:
    DebertaV2Model(_config()).save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3, **LORA)
    _shake_lora(model)
    nn.init.normal_(model.pooler.dense.weight)
    model.save_adapter(tmp_path / "adapter")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    batch = _batch()
    assert torch.equal(_logits(again, **batch), _logits(model, **batch))


# Precision and memory -----------------------------------------------------------------------------------------


def _gradients(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    model.train()
    model.zero_grad()
    torch.manual_seed(5)
    model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model, batch = _classifier(**LORA, **CONV, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1), _batch()
    wanted = _gradients(model, batch)
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    found = _gradients(model, batch)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("changes", [CONV, {"share_att_key": False}, {"embedding_size": 20, "type_vocab_size": 2}])
def test_frozen_base_in_half_precision(dtype: torch.dtype, changes: dict[str, Any]) -> None:
    model, batch = _classifier(**LORA, **changes, initializer_range=0.1), _batch()
    wanted_logits, wanted = _logits(model, **batch), _gradients(model, batch)
    model.cast_frozen_parameters(dtype)
    model.eval()
    tolerance = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(_logits(model, **batch), wanted_logits, atol=tolerance, rtol=tolerance)
    found = _gradients(model, batch)
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        scale = float(wanted[name].abs().max()) or 1.0
        assert float((gradient - wanted[name]).abs().max()) <= 2 * tolerance * scale, name


# Masked language model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("held", [True, False])
def test_masked_lm_takes_the_head_that_the_checkpoint_holds(held: bool, said: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DebertaV2ForMaskedLM(_config(legacy=held)).eval()
    nn.init.normal_(model.get_parameter("cls.predictions.bias" if held else "lm_predictions.lm_head.bias"))
    model.save_pretrained(tmp_path)
    loaded, report = DebertaV2ForMaskedLM.from_pretrained(tmp_path, legacy=said, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert loaded.config.legacy == held
    batch = _batch()
    assert torch.equal(_logits(loaded, **batch), _logits(model, **batch))


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("size", [50, 70])
def test_masked_lm_with_another_vocabulary(legacy: bool, size: int) -> None:
    torch.manual_seed(0)
    model = DebertaV2ForMaskedLM(_config(legacy=legacy)).eval()
    batch = {"input_ids": torch.randint(5, 50, (2, 7))}
    before = _logits(model, **batch)
    model.resize_token_embeddings(size)
    after = _logits(model, **batch)
    assert after.shape == (2, 7, size)
    kept = min(size, 61)
    torch.testing.assert_close(after[..., :kept], before[..., :kept])
    model(**batch, labels=batch["input_ids"]).loss.backward()


@pytest.mark.parametrize("legacy", [True, False])
def test_masked_lm_with_lora_in_bf16(legacy: bool) -> None:
    model = DebertaV2ForMaskedLM(_config(legacy=legacy, **LORA)).train()
    model.cast_frozen_parameters(torch.bfloat16)
    batch = _batch()
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(model.get_parameter(name).grad is not None for name in lora_parameter_names(model))


def test_rows_that_are_computed_apart_keep_their_positions(tmp_path: Path) -> None:
    """Adapters that move the shared position query share no base, and each row has its own forward pass."""
    fields = {**LORA, "lora_position_query": True, "position_biased_input": True}
    model, other = _classifier(**fields), _classifier(**fields)
    _shake_lora(model)
    _shake_lora(other)
    other.save_adapter(tmp_path / "other")
    model.load_adapter(tmp_path / "other", "other")
    batch, names = _batch(), ["default", "other"] * 2
    backwards = torch.arange(10, -1, -1)[None]
    for position_ids in (backwards, backwards.expand(4, 11)):
        together = _logits(model, **batch, position_ids=position_ids, adapter_names=names)
        assert not torch.allclose(together, _logits(model, **batch, adapter_names=names))
        for row, (name, alone) in enumerate(zip(names, [model, other] * 2, strict=True)):
            expected = _logits(alone, **batch, position_ids=position_ids)[row]
            torch.testing.assert_close(together[row], expected, atol=1e-5, rtol=1e-5, msg=name)
    with pytest.raises(ValueError, match="output_attentions and adapter_names exclude each other"):
        model(**batch, adapter_names=names, output_attentions=True)


@pytest.mark.parametrize("legacy", [True, False])
def test_masked_lm_without_a_label_that_counts(legacy: bool) -> None:
    model, batch = DebertaV2ForMaskedLM(_config(legacy=legacy)), _batch()
    loss = model(**batch, labels=torch.full_like(batch["input_ids"], -100)).loss
    assert float(loss.detach()) == 0
    loss.backward()
    gradients = [parameter.grad for parameter in model.deberta.embeddings.parameters()]
    assert not any(gradient is None or gradient.any() for gradient in gradients)


@pytest.mark.parametrize("written", ["None", "none", ["none"], ["None"], "", [], None, "none|"])
def test_no_position_terms_in_all_ways_to_write_it(written: Any, tmp_path: Path) -> None:
    config = _config(pos_att_type=written)
    assert config.pos_att_type is None
    (tmp_path / "config.json").write_text(json.dumps({**config.to_dict(), "pos_att_type": written}))
    assert DebertaV2Config.from_pretrained(tmp_path).pos_att_type is None
    assert _config(pos_att_type="none|c2p").pos_att_type == ["c2p"]


def test_the_pooler_is_as_wide_as_the_model(tmp_path: Path) -> None:
    assert DebertaV2Config().pooler_hidden_size == 1536
    config = _config(hidden_size=24)
    assert config.pooler_hidden_size == 24
    config.save_pretrained(tmp_path)
    assert DebertaV2Config.from_pretrained(tmp_path).pooler_hidden_size == 24


def test_stable_dropout_under_the_argument_of_4_4_2() -> None:
    layers = [StableDropout(drop_prob=0.5), StableDropout(0.5)]
    assert [layer.drop_prob for layer in layers] == [0.5, 0.5]
    assert any(isinstance(module, StableDropout) for module in _classifier().modules())
    kept = layers[0].train()(torch.ones(40, 50)) != 0
    assert 0.4 < kept.float().mean() < 0.6
