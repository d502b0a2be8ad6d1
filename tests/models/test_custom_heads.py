"""Model classes written for Transformers 4.4.2 outside this package: what their constructors make is kept and loaded.

Letters in shapes: ``B`` batch, ``L`` padded length, ``D`` hidden size, ``N`` labels.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny import LORA, TINY, random_ids, same_tensors, tiny_config, values, write_base
from torch import Tensor, nn

from transformers import (
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.models.deberta_v2.modeling_deberta_v2 import ContextPooler, DebertaV2PreTrainedModel
from transformers.models.roberta.modeling_roberta import (
    RobertaClassificationHead,
    RobertaPooler,
    RobertaPreTrainedModel,
)

D = TINY["hidden_size"]
TOLERANCE = {"atol": 2e-6, "rtol": 1e-5}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


class Everything(RobertaPreTrainedModel):
    """A head that holds one of each kind of thing."""

    def __init__(self, config: RobertaConfig, width: int = 3) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
        self.rates = [float(rate) for rate in torch.linspace(0, 0.2, 3)]
        self.register_buffer("scale", torch.tensor([1.0, 2.0]))
        self.norm = nn.BatchNorm1d(D)
        self.mix = nn.Parameter(torch.ones(3))
        self.lstm = nn.LSTM(D, 16, batch_first=True)
        self.gamma = nn.Parameter(torch.full((2,), 7.0))  # no old name of a LayerNorm's weight
        self.score = nn.Linear(D, width)
        self.adapters = nn.ModuleList([nn.Linear(D, D)])
        self.classify = nn.Linear(D, 2)
        self.init_weights()
        nn.init.constant_(self.classify.weight, 0.25)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        states = self.roberta(input_ids, attention_mask=attention_mask, output_hidden_states=True).hidden_states
        first = sum(weight * state for weight, state in zip(self.mix, states, strict=True))[:, 0]
        scores: Tensor = self.score(self.norm(first)) + self.classify(first).sum(1, keepdim=True)
        return scores


def _made_as_written(model: Everything) -> None:
    assert model.loss.weight is not None
    assert model.loss.weight.tolist() == [1.0, 2.0, 3.0]
    assert model.rates == pytest.approx([0.0, 0.1, 0.2])
    assert model.get_buffer("scale").tolist() == [1.0, 2.0]
    for tensor, value in ((model.norm.weight, 1), (model.mix, 1), (model.gamma, 7)):
        assert bool((tensor == value).all())
    assert bool((model.classify.weight == 0.25).all())
    assert model.lstm.weight_hh_l0.abs().max() <= 0.25  # uniform within 1 / sqrt(16), as PyTorch starts it …
    assert model.lstm.weight_hh_l0.std() > 0.1  # … and not normal
    assert model.score.bias.tolist() == [0.0] * model.score.out_features


def test_a_new_model_keeps_what_its_constructor_made() -> None:
    _made_as_written(Everything(tiny_config(initializer_range=0.02)))


def test_a_loaded_model_keeps_what_its_constructor_made(base: Path) -> None:
    model = Everything.from_pretrained(base, 5)
    _made_as_written(model)
    encoder = RobertaModel.from_pretrained(base, add_pooling_layer=False)
    assert same_tensors(values(model.roberta), values(encoder))
    assert model.score.out_features == 5
    assert model(random_ids()).shape == (4, 5)


def test_everything_is_saved_and_loaded(base: Path, tmp_path: Path) -> None:
    model = Everything.from_pretrained(base).train()
    model(random_ids())  # moves BatchNorm's statistics
    model.get_buffer("scale").fill_(5.0)
    with torch.no_grad():
        model.gamma.fill_(8.0)
    model.save_pretrained(tmp_path)
    again, report = Everything.from_pretrained(tmp_path, output_loading_info=True)
    assert same_tensors(values(again), values(model))
    assert not any(report.values())
    assert again.norm.num_batches_tracked == 1


def test_missing_and_unexpected_buffers_are_named(base: Path, tmp_path: Path) -> None:
    _, report = Everything.from_pretrained(base, output_loading_info=True)
    assert {"scale", "norm.running_mean", "norm.num_batches_tracked"} <= set(report["missing_keys"])
    Everything.from_pretrained(base).save_pretrained(tmp_path)
    _, report = RobertaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert "norm.running_mean" in report["unexpected_keys"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, "auto"])
def test_a_class_from_elsewhere_in_another_dtype(base: Path, tmp_path: Path, dtype: Any) -> None:
    RobertaModel.from_pretrained(base, dtype=torch.bfloat16, add_pooling_layer=False).save_pretrained(tmp_path)
    model = Everything.from_pretrained(tmp_path, dtype=dtype)
    floats = {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()}
    assert floats == {torch.bfloat16}
    assert model.norm.num_batches_tracked is not None
    assert model.norm.num_batches_tracked.dtype == torch.long
    assert bool((model.mix == 1).all())


def test_lora_below_a_head_from_elsewhere(base: Path, tmp_path: Path) -> None:
    model = Everything.from_pretrained(base, **LORA, dtype=torch.bfloat16)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {name for name, _ in model.named_parameters() if not name.startswith("roberta.")}
    assert head < trained
    assert all("lora_" in name for name in trained - head)
    assert {model.get_parameter(name).dtype for name in trained} == {torch.float32}
    assert model.dtype == torch.bfloat16
    assert model.norm.running_mean is not None
    assert model.norm.running_mean.dtype == torch.float32
    assert bool((model.mix == 1).all())


def test_what_a_constructor_freezes_stays_frozen(base: Path) -> None:
    class Frozen(Everything):
        def __init__(self, config: RobertaConfig) -> None:
            super().__init__(config)
            self.roberta.requires_grad_(False)

    model = Frozen.from_pretrained(base)
    assert not any(parameter.requires_grad for parameter in model.roberta.parameters())
    assert model.score.weight.requires_grad


# Starting values ------------------------------------------------------------------------------------------------


class OwnRule(RobertaPreTrainedModel):
    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.head = nn.Linear(D, 2)
        self.init_weights()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            module.weight.data.fill_(0.5)


def test_a_rule_of_its_own_is_used(base: Path) -> None:
    model = OwnRule(tiny_config())
    assert bool((model.head.weight == 0.5).all())
    assert bool((model.roberta.encoder.layer[0].output.dense.weight == 0.5).all())
    loaded = OwnRule.from_pretrained(base)
    assert bool((loaded.head.weight == 0.5).all())
    assert not bool((loaded.roberta.encoder.layer[0].output.dense.weight == 0.5).all())


def test_init_weights_can_be_applied_to_any_module() -> None:
    model = RobertaModel(tiny_config(initializer_range=0.0))
    part = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Conv1d(4, 4, 1), nn.Embedding(3, 4))
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.fill_(3.0)
    part.apply(model._init_weights)
    found = {name: set(parameter.flatten().tolist()) for name, parameter in part.named_parameters()}
    assert found == {
        **{"0.weight": {0.0}, "0.bias": {0.0}, "1.weight": {1.0}, "1.bias": {0.0}},
        **{"2.weight": {3.0}, "2.bias": {3.0}, "3.weight": {0.0}},
    }


def test_init_weights_starts_a_made_model_anew(base: Path) -> None:
    model = RobertaForSequenceClassification.from_pretrained(base)
    before = values(model)
    model.init_weights()
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert "roberta.encoder.layer.0.attention.self.query.weight" in changed
    assert "classifier.dense.weight" in changed


def test_the_encoder_is_initialised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[nn.Module] = []
    rule = PreTrainedModel._init_weights

    def note(self: PreTrainedModel, module: nn.Module) -> None:
        seen.append(module)
        rule(self, module)

    monkeypatch.setattr(PreTrainedModel, "_init_weights", note)
    model = RobertaForSequenceClassification(tiny_config())
    assert len(seen) == len(set(map(id, seen))) == len(list(model.modules()))


@pytest.mark.parametrize("parent", [RobertaPreTrainedModel, RobertaForSequenceClassification])
def test_a_second_model_loaded_in_the_constructor_is_kept(parent: type[PreTrainedModel], base: Path) -> None:
    class Two(parent):  # type: ignore[misc,valid-type]
        def __init__(self, config: RobertaConfig) -> None:
            super().__init__(config)
            self.roberta = RobertaModel(config)
            self.other = RobertaModel.from_pretrained(base)
            self.init_weights()

    model = Two(tiny_config())
    encoder = RobertaModel.from_pretrained(base)
    assert torch.equal(model.other.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight)


def test_a_model_of_its_own_kind(tmp_path: Path) -> None:
    class OwnConfig(PretrainedConfig):
        model_type = "own"

        def __init__(self, width: int = 8, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.width = width

    class Own(PreTrainedModel):
        config_class = OwnConfig
        base_model_prefix = "net"

        def __init__(self, config: OwnConfig) -> None:
            super().__init__(config)
            self.net = nn.Linear(config.width, config.width)
            self.out = nn.Linear(config.width, 2)
            self.init_weights()

    model = Own(OwnConfig(width=4))
    model.save_pretrained(tmp_path)
    assert same_tensors(values(Own.from_pretrained(tmp_path)), values(model))


class Untold(RobertaPreTrainedModel):
    """A masked-LM head that leaves tying to the library, as 4.4.2's classes do."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.decoder = nn.Linear(D, config.vocab_size)
        self.init_weights()

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder


def test_a_scoring_layer_shares_the_word_embeddings(base: Path, tmp_path: Path) -> None:
    model = Untold.from_pretrained(base)
    assert model.decoder.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    again, report = Untold.from_pretrained(tmp_path, output_loading_info=True)
    assert again.decoder.weight is again.get_input_embeddings().weight
    assert same_tensors(values(again), values(model))
    assert not report["missing_keys"]
    again.resize_token_embeddings(70)
    assert again.decoder.weight is again.get_input_embeddings().weight
    assert again.decoder(torch.ones(1, D)).shape == (1, 70)
    assert Untold(tiny_config(tie_word_embeddings=False)).decoder.weight.shape == (TINY["vocab_size"], D)


def test_keys_to_ignore(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Quiet(RobertaForSequenceClassification):
        _keys_to_ignore_on_load_missing: ClassVar = [r"out_proj\.(weight|bias)"]
        _keys_to_ignore_on_load_unexpected: ClassVar = [r"pooler"]
        _keys_to_ignore_on_save: ClassVar = ["classifier.dense.weight"]

    RobertaModel.from_pretrained(base).save_pretrained(tmp_path / "pooled")
    with caplog.at_level(logging.INFO, logger="transformers"):
        model, report = Quiet.from_pretrained(tmp_path / "pooled", output_loading_info=True)
    assert report["missing_keys"] == ["classifier.dense.weight", "classifier.dense.bias"]
    assert report["unexpected_keys"] == []
    model.save_pretrained(tmp_path / "saved")
    _, report = RobertaForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert report["missing_keys"] == ["classifier.dense.weight"]


# Heads of this package, called and replaced as in 4.4.2 -----------------------------------------------------------

DEBERTA: dict[str, Any] = {
    **TINY,
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_buckets": 8,
    "position_biased_input": False,
    "type_vocab_size": 0,
}


def test_heads_read_the_first_token_of_all() -> None:
    states = torch.randn(3, 5, D)
    roberta, deberta = tiny_config(num_labels=4), DebertaV2Config(**DEBERTA)
    for head in (RobertaClassificationHead(roberta), RobertaPooler(roberta), ContextPooler(deberta)):
        head.eval()
        assert torch.equal(head(states), head(states[:, 0]))
    assert RobertaClassificationHead(roberta)(states, unused=1).shape == (3, 4)
    assert ContextPooler(deberta).output_dim == D


class FirstColumn(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(D, width)

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Shape: (B, L, D) to (B, width)."""
        return self.out(features[:, 0, :])


class Largest(FirstColumn):
    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Shape: (B, L, D) to (B, width)."""
        return self.out(features.amax(1))


def _padded(side: str) -> dict[str, Tensor]:
    ids = random_ids(3, 9)
    mask = torch.ones_like(ids)
    if side == "right":
        mask[0, 4:] = 0
    else:
        mask[0, :5] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_classifier_put_in_place_reads_all_tokens(side: str) -> None:
    model = RobertaForSequenceClassification(tiny_config()).eval()
    batch = _padded(side)
    states = model.roberta(**batch)[0]
    first = batch["attention_mask"].argmax(1)
    for head, expected in (
        (FirstColumn(2), states[torch.arange(3), first]),
        (Largest(2), states.amax(1)),
    ):
        model.classifier = head  # type: ignore[assignment]
        torch.testing.assert_close(model(**batch).logits, head.out(expected), **TOLERANCE)
        assert model(**batch, labels=torch.tensor([0, 1, 0])).loss.ndim == 0


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_pooler_put_in_place_reads_all_tokens(side: str) -> None:
    batch = _padded(side)
    first = batch["attention_mask"].argmax(1)
    roberta = RobertaModel(tiny_config()).eval()
    deberta = DebertaV2ForSequenceClassification(DebertaV2Config(**DEBERTA)).eval()
    pooler = FirstColumn(D)
    roberta.pooler = deberta.pooler = pooler  # type: ignore[assignment]
    states = roberta(**batch)[0][torch.arange(3), first]
    torch.testing.assert_close(roberta(**batch).pooler_output, pooler.out(states), **TOLERANCE)
    states = deberta.deberta(**batch)[0][torch.arange(3), first]
    torch.testing.assert_close(deberta(**batch).logits, deberta.classifier(pooler.out(states)), **TOLERANCE)


def test_a_deberta_head_as_4_4_2_writes_it(tmp_path: Path) -> None:
    class Head(DebertaV2PreTrainedModel):
        def __init__(self, config: DebertaV2Config) -> None:
            super().__init__(config)
            self.deberta = DebertaV2Model(config)
            self.pooler = ContextPooler(config)
            self.classifier = nn.Linear(self.pooler.output_dim, 2)
            self.init_weights()

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            scores: Tensor = self.classifier(self.pooler(self.deberta(input_ids, attention_mask=attention_mask)[0]))
            return scores

    own = DebertaV2ForSequenceClassification(DebertaV2Config(**DEBERTA)).eval()
    own.save_pretrained(tmp_path)
    batch = _padded("right")
    torch.testing.assert_close(Head.from_pretrained(tmp_path)(**batch), own(**batch).logits, **TOLERANCE)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_subclass_takes_the_masked_lm_head_of_the_file(legacy: bool, tmp_path: Path) -> None:
    class Own(DebertaV2ForMaskedLM):
        pass

    model = DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA, legacy=legacy))
    model.save_pretrained(tmp_path)
    again = Own.from_pretrained(tmp_path, legacy=not legacy)
    assert again.config.legacy == legacy
    assert same_tensors(values(again), values(model))


# Parts of the encoder, as code of 4.4.2's time handles them -------------------------------------------------------


def test_layers_may_be_taken_away() -> None:
    model = RobertaModel(tiny_config()).eval()
    ids = random_ids()
    expected = model(ids, output_hidden_states=True).hidden_states[1]
    model.encoder.layer = nn.ModuleList(model.encoder.layer[:1])
    torch.testing.assert_close(model(ids)[0], expected, **TOLERANCE)
    assert model(ids, head_mask=torch.zeros(1, TINY["num_attention_heads"]))[0].shape == expected.shape


@pytest.mark.parametrize("model_class", [RobertaModel, DebertaV2Model])
def test_dropout_is_found_and_switched_by_its_class(model_class: type[PreTrainedModel]) -> None:
    fields = {**(DEBERTA if model_class is DebertaV2Model else TINY), "attention_probs_dropout_prob": 0.4}
    model = model_class(model_class.config_class(**fields)).eval()
    attention = model.encoder.layer[0].attention.self  # type: ignore[union-attr,index]
    heads = TINY["num_attention_heads"]
    assert (attention.attention_head_size, attention.all_head_size) == (D // heads, D)
    ids = random_ids()
    assert torch.equal(model(ids)[0], model(ids)[0])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    assert not torch.equal(model(ids)[0], model(ids)[0])  # Monte Carlo dropout: the attention's alone is above 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert torch.equal(model(ids)[0], model(ids)[0])


def test_the_scoring_layer_can_be_replaced() -> None:
    layer = nn.Linear(D, TINY["vocab_size"])
    roberta = RobertaForMaskedLM(tiny_config())
    roberta.set_output_embeddings(layer)
    assert roberta.get_output_embeddings() is layer
    DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA)).set_output_embeddings(layer)
    with pytest.raises(ValueError, match="set_input_embeddings"):
        DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA, legacy=False)).set_output_embeddings(layer)


def test_word_embeddings_are_replaced_by_either_name() -> None:
    table = nn.Embedding(70, D)
    roberta, deberta = RobertaModel(tiny_config()), DebertaV2Model(DebertaV2Config(**DEBERTA))
    roberta.set_input_embeddings(value=table)
    deberta.set_input_embeddings(new_embeddings=table)
    assert roberta.get_input_embeddings() is deberta.get_input_embeddings() is table


def test_tracing_is_refused() -> None:
    model = RobertaForSequenceClassification(tiny_config(torchscript=True)).eval()
    assert isinstance(model(random_ids()), tuple)
    with pytest.raises(RuntimeError, match=r"wrong results for others. Ship the model itself"):
        torch.jit.trace(model, (random_ids(),))


@pytest.mark.parametrize("kind", [RobertaForSequenceClassification, RobertaForMaskedLM])
def test_dynamic_quantisation(kind: type[PreTrainedModel]) -> None:
    model = kind(tiny_config()).eval()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    ids = random_ids()
    torch.testing.assert_close(quantised(ids).logits, model(ids).logits, atol=0.3, rtol=0.1)


def test_an_adapter_s_folder_keeps_the_buffers_of_a_head(base: Path, tmp_path: Path) -> None:
    model = Everything.from_pretrained(base, **LORA)
    with torch.no_grad():
        model.norm.running_mean.uniform_(1, 2)
        model.norm.num_batches_tracked.add_(5)
    model.save_adapter(tmp_path / "adapter")
    again = Everything.from_pretrained(tmp_path / "adapter")
    for name in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "scale"):
        assert torch.equal(again.get_buffer(name), model.get_buffer(name)), name
    assert same_tensors(again.state_dict(), model.state_dict())
