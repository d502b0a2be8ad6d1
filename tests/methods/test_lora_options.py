"""LoRA's options: which layers they reach, what they train, what they compute, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adapter_models import KINDS, batch, load_base, logits, write_base
from tiny import LORA, tiny_config, values
from torch import nn

from transformers import (
    AutoModelForSequenceClassification,
    LoraConfig,
    PreTrainedModel,
    RobertaForSequenceClassification,
    RobertaModel,
    TaskType,
    TrainingArguments,
    get_peft_model,
)
from transformers.methods.lora.layers import LoraEmbedding, LoraLinear, lora_layers, lora_parameter_names
from transformers.optimization import create_optimizer
from transformers.training.lora_plus import EMBEDDING_RATE

LAYERS = 2
EVERY = {"query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"}


def make(**options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(tiny_config(num_hidden_layers=LAYERS, **LORA, **options))


def adapted(model: nn.Module) -> set[str]:
    """Give the paths of the LoRA layers, without what all have in front."""
    return {
        path.removeprefix("roberta.encoder.layer.").replace("attention.self.", "") for path, _ in lora_layers(model)
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"0.query", "0.value", "1.query", "1.value"}),
        ({"lora_target_modules": ["key"]}, {"0.key", "1.key"}),
        ({"lora_target_modules": ["attention.output.dense"]}, {f"{n}.attention.output.dense" for n in range(LAYERS)}),
        ({"lora_target_modules": ["query", "value"], "lora_exclude_modules": ["layer.0.attention.self.query"]},
         {"1.query", "0.value", "1.value"}),
        ({"lora_target_modules": r".*\.1\.(.*\.key|intermediate\.dense)"}, {"1.key", "1.intermediate.dense"}),
        ({"lora_layers_to_transform": [1]}, {"1.query", "1.value"}),
        ({"lora_target_modules": "all-linear", "lora_layers_to_transform": 0}, {f"0.{name}" for name in EVERY}),
        ({"lora_target_modules": "all-linear"}, {f"{layer}.{name}" for layer in range(LAYERS) for name in EVERY}),
        ({"lora_exclude_modules": r".*value"}, {"0.query", "1.query"}),
    ],
)  # fmt: skip
def test_the_configuration_says_where(options: dict[str, Any], expected: set[str]) -> None:
    model = make(**options)
    assert adapted(model) == expected
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == lora_parameter_names(model) | {name for name in trained if name.startswith("classifier")}
    assert set(make(lora_target_modules=["query", "value"]).state_dict()) == set(make().state_dict())


def test_ranks_and_alphas_by_pattern() -> None:
    model = make(lora_rank_pattern={"layer.0.attention.self.query": 2}, lora_alpha_pattern={"value": 20})
    found = {path.split(".")[-4] + path[-6:]: (layer.r, layer.lora_alpha) for path, layer in lora_layers(model)}
    usual = (LORA["lora_r"], LORA["lora_alpha"])
    assert found == {"0.query": (2, usual[1]), "0.value": (usual[0], 20), "1.query": usual, "1.value": (usual[0], 20)}


@pytest.mark.parametrize(
    ("options", "beside"),
    [
        ({"lora_bias": "all"}, lambda name: name.endswith("bias")),
        ({"lora_bias": "lora_only"}, lambda name: name.endswith(("query.bias", "value.bias"))),
        ({"lora_modules_to_save": ["LayerNorm"]}, lambda name: ".LayerNorm." in name),
        ({"lora_modules_to_save": ["intermediate.dense", "classifier"]}, lambda name: ".intermediate.dense." in name),
    ],
)
def test_what_is_trained_beside(options: dict[str, Any], beside: Any) -> None:
    model = make(**options)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    encoder = {name for name in trained if name.startswith("roberta.")} - lora_parameter_names(model)
    assert encoder == {name for name, _ in model.named_parameters() if name.startswith("roberta.") and beside(name)}


def test_dora_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    layer = LoraLinear(7, 5, r=2, lora_alpha=3, use_dora=True).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(4, 7, dtype=torch.double)
    whole = layer.weight + 1.5 * layer.lora_B @ layer.lora_A
    wanted = x @ (layer.lora_magnitude_vector[:, None] * whole / whole.norm(dim=1, keepdim=True)).T + layer.bias
    torch.testing.assert_close(layer(x), wanted, rtol=1e-6, atol=1e-6)  # lengths are computed in fp32
    merged = torch.nn.functional.linear(x, layer.merged_weight(), layer.bias)
    torch.testing.assert_close(merged, wanted, rtol=1e-6, atol=1e-6)


def test_dora_under_dropout_drops_what_the_factor_changes_too() -> None:
    torch.manual_seed(0)
    layer = LoraLinear(64, 5, r=2, lora_alpha=3, lora_dropout=0.5, use_dora=True).train()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 64)
    factor = layer.current_update().magnitude_factor(layer.weight)  # type: ignore[union-attr]
    torch.manual_seed(1)
    result = layer(x)
    torch.manual_seed(1)
    dropped = layer.lora_dropout(x)
    low = dropped @ layer.lora_A.T @ layer.lora_B.T * layer.scaling
    wanted = layer.base_forward(x) + (factor - 1) * (dropped @ layer.weight.T) + factor * low
    torch.testing.assert_close(result, wanted)


def test_an_embedding_looks_up_adapted_rows_and_none_for_padding() -> None:
    torch.manual_seed(0)
    table = LoraEmbedding(11, 6, r=2, lora_alpha=4, padding_idx=1)
    for parameter in table.parameters():
        nn.init.normal_(parameter)
    ids = torch.tensor([[0, 1, 5], [10, 1, 2]])
    whole = table.weight + 2 * (table.lora_embedding_B @ table.lora_embedding_A).T
    torch.testing.assert_close(table(ids), whole[ids])
    torch.testing.assert_close(table.merged_weight(), whole)
    table(ids).sum().backward()
    assert table.lora_embedding_A.grad is not None
    assert not table.lora_embedding_A.grad[:, 1].any()
    assert table.lora_embedding_A.grad[:, 5].any()


@pytest.mark.parametrize("start", ["default", "gaussian", "orthogonal", "pissa", "pissa_niter_8", "olora"])
def test_every_start_begins_with_the_bases_outputs(start: str, tmp_path: Any) -> None:
    base = write_base(KINDS["roberta"], tmp_path / "base")
    torch.manual_seed(3)
    plain = load_base(KINDS["roberta"], base)
    model = load_base(
        KINDS["roberta"], base, **{**LORA, "lora_r": 4}, lora_init=start, lora_target_modules="all-linear"
    )
    head = {name: value for name, value in plain.state_dict().items() if name.startswith("classifier")}
    model.load_state_dict(head, strict=False)
    assert (logits(model) - logits(plain)).abs().max() <= 1e-5
    assert model.base_sha256() == plain.base_sha256(), "the base is the published one"
    layer = model.roberta.encoder.layer[0].intermediate.dense
    product = layer.lora_B.detach() @ layer.lora_A.detach() * layer.scaling
    left, sizes, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    if start.startswith("pissa"):
        nearest = (left[:, :4] * sizes[:4]) @ right[:4]
        share = float(product.norm() / nearest.norm())
        assert share >= (1 - 1e-4 if start == "pissa" else 0.75)  # the other one is found by iterations
    elif start == "olora":
        torch.testing.assert_close(layer.lora_B.T @ layer.lora_B, torch.eye(4), atol=1e-5, rtol=0)
    else:
        assert product.abs().max() <= 1e-6
        expected = {"gaussian": 1 / 4, "orthogonal": 0.5**0.5 / 10}.get(start)
        if expected is not None:
            assert float(layer.lora_A.detach().std()) == pytest.approx(expected, rel=0.25)
            assert (float(layer.lora_B.detach().abs().sum()) > 0) is (start == "orthogonal")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such name": ({"lora_target_modules": ["qury", "value"]}, "'qury' matches no layer.*nearest names are query"),
    "no such path": ({"lora_target_modules": r"encoder\.nothing"}, "matches no layer"),
    "head alone": ({"lora_target_modules": ["classifier.dense"]}, "a head is trained in full"),
    "head too": ({"lora_target_modules": r".*dense"}, "matches classifier.dense, a part of the head"),
    "a norm": ({"lora_target_modules": ["LayerNorm"]}, "a LayerNorm, which takes no LoRA"),
    "no expression": ({"lora_target_modules": "("}, "is no regular expression"),
    "nothing left": ({"lora_exclude_modules": ["query", "value"]}, "No layer is left"),
    "no such layer": ({"lora_layers_to_transform": [7]}, "No layer is left.*2 layers, numbered from 0"),
    "layers of an expression": (
        {"lora_target_modules": ".*query", "lora_layers_to_transform": 1},
        "exclude each other",
    ),
    "pattern without layers": ({"lora_layers_pattern": "layer"}, "lora_layers_to_transform is not"),
    "no such rank": ({"lora_rank_pattern": {"key": 2}}, "'key' matches no layer with LoRA"),
    "no rank": ({"lora_rank_pattern": {"query": 0}}, "a positive whole number"),
    "no such module": ({"lora_modules_to_save": ["LayerNrm"]}, "nearest names are LayerNorm"),
    "adapted and saved": ({"lora_modules_to_save": ["attention"]}, "adapted or trained in full, not both"),
    "bias": ({"lora_bias": "some"}, "none, all, lora_only"),
    "start": ({"lora_init": "eva"}, "eva.*not part of this package"),
    "odd rank": ({"lora_init": "orthogonal", "lora_r": 3}, "must be even"),
    "dora and pissa": ({"lora_init": "pissa", "lora_use_dora": True}, "exclude each other"),
    "too many directions": ({"lora_init": "olora", "lora_r": 900}, "use a smaller lora_r"),
    "dora of a table": ({"lora_target_modules": ["word_embeddings"], "lora_use_dora": True}, "is an embedding"),
    "ratio": ({"lora_plus_lr_ratio": 0}, "a positive number"),
    "without lora": ({"apply_lora": False, "lora_use_dora": True}, "apply_lora is not"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_means_nothing_is_refused_in_one_line(name: str) -> None:
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as raised:
        RobertaForSequenceClassification(tiny_config(num_hidden_layers=LAYERS, **{**LORA, **options}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"target_modules": ["qury"]}, "'qury' matches no layer"),
        ({"target_modules": r".*out_proj"}, "a part of the head"),
        ({"modules_to_save": ["nothing"]}, "the end of no module's path"),
        ({"r": 0}, "lora_r is 0"),
        ({"task_type": "TOKEN_CLS"}, "task_type is TOKEN_CLS"),
    ],
)
def test_a_refused_adapter_leaves_the_model_as_it_was(config: dict[str, Any], message: str) -> None:
    torch.manual_seed(0)
    model = RobertaForSequenceClassification(tiny_config())
    before, fields = values(model), model.config.to_dict()
    types = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        model.add_adapter(LoraConfig(**config), "new")
    assert [type(module) for module in model.modules()] == types
    assert model.config.to_dict() == fields
    assert all(torch.equal(value, before[name]) for name, value in values(model).items())


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"task_type": TaskType.SEQ_2_SEQ_LM}, ValueError, "have no decoder"),
        ({"task_type": "NONE"}, ValueError, "one of SEQ_CLS"),
        ({"eva_config": {"rho": 2}}, ValueError, "eva_config"),
        ({"use_qalora": True}, ValueError, "use_qalora"),
        ({"init_lora_weights": "loftq"}, ValueError, "loftq"),
        ({"no_such_field": 1}, TypeError, "no_such_field"),
    ],
)
def test_what_peft_has_and_this_has_not_is_refused_by_name(
    fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LoraConfig(**fields)


def test_get_peft_model_is_the_same_as_the_configurations_fields(tmp_path: Any) -> None:
    base = write_base(KINDS["roberta"], tmp_path / "base")
    plain = load_base(KINDS["roberta"], base)
    head, expected = plain.classifier.dense.weight.detach().clone(), logits(plain)
    config = LoraConfig(
        r=2, lora_alpha=6, target_modules={"query", "key"}, use_rslora=True, task_type=TaskType.SEQ_CLS
    )
    model = get_peft_model(plain, config)
    assert model is plain
    assert torch.equal(model.classifier.dense.weight, head), "the first adapter takes the head as it is"
    assert (logits(model) - expected).abs().max() <= 1e-6
    assert (model.config.lora_r, model.config.lora_target_modules) == (2, ["key", "query"])
    other = AutoModelForSequenceClassification.from_pretrained(
        base, apply_lora=True, lora_r=2, lora_alpha=6, lora_target_modules=["key", "query"], lora_use_rslora=True
    )
    assert lora_parameter_names(model) == lora_parameter_names(other)
    assert all(layer.scaling == 6 / 2**0.5 for _, layer in lora_layers(model))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in other.named_parameters() if parameter.requires_grad}


def test_lora_plus_has_pefts_groups() -> None:
    options = {"lora_target_modules": ["query", "word_embeddings"], "lora_bias": "lora_only"}
    model = make(**options, lora_plus_lr_ratio=16.0)
    arguments = TrainingArguments("unused", learning_rate=1e-3, weight_decay=0.1)
    groups = create_optimizer(arguments, model).param_groups
    found = [
        (group["lr"], group["weight_decay"], {n.rpartition(".")[2] for n in group["param_names"]}) for group in groups
    ]
    assert found == [
        (1e-3, 0.1, {"lora_A", "weight"}),
        (EMBEDDING_RATE, 0.1, {"lora_embedding_A", "lora_embedding_B"}),
        (16e-3, 0.1, {"lora_B"}),
        (16e-3, 0.0, {"bias"}),
    ]
    assert len(create_optimizer(arguments, make(**options)).param_groups) == 2


@pytest.mark.parametrize("name", ["roberta-bf16", "deberta-bf16"])
@pytest.mark.parametrize(
    "options",
    [
        {"lora_modules_to_save": ["LayerNorm", "word_embeddings", "intermediate.dense"], "lora_bias": "all"},
        {"lora_use_dora": True, "lora_target_modules": "all-linear", "lora_dropout": 0.1},
        {"lora_init": "pissa"},
    ],
)
def test_a_frozen_base_in_half_precision_takes_every_option(name: str, options: dict[str, Any], tmp_path: Any) -> None:
    base = write_base(KINDS[name], tmp_path / "base")
    model = load_base(KINDS[name], base, **LORA, **options)
    exact = load_base(KINDS[name.split("-")[0] + ("" if name.startswith("roberta") else "-base-positions")], base)
    exact.load_state_dict(
        {n: v for n, v in model.state_dict().items() if not n.startswith(("roberta", "deberta"))}, strict=False
    )
    assert (logits(model).float() - logits(exact)).abs().max() <= KINDS[name].tolerance
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(parameter.dtype == torch.float32 for parameter in trained.values())
    model.train()
    model(**batch(), labels=torch.arange(6) % 2).loss.backward()
    assert all(parameter.grad is not None for n, parameter in trained.items() if not n.endswith(("rel_embeddings",)))


def test_a_bare_encoder_and_a_classifier_have_lora_at_the_same_layers() -> None:
    options = {**LORA, "lora_target_modules": r"roberta\.encoder\.layer\.0\..*(key|dense)"}
    bare = RobertaModel(tiny_config(**options), add_pooling_layer=True)
    classifier = RobertaForSequenceClassification(tiny_config(**options))
    assert {f"roberta.{path}" for path, _ in lora_layers(bare)} == {path for path, _ in lora_layers(classifier)}
