"""Compiled kernels against the plain operations that they stand for: the same masks bit for bit, the same numbers."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from kernel_ways import CLOSE, DTYPES, both_ways, check_close, masks
from torch import Tensor, nn

from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)
from transformers.kernels import calls, compiling
from transformers.kernels.calls import Mask, kernels_for
from transformers.layers.activations import gelu
from transformers.layers.attention import grouped_attention
from transformers.layers.dropout import Dropout, dropout, keep_mask
from transformers.layers.packing import PackedLayout
from transformers.layers.residual_norm import residual_norm
from transformers.methods.lora.layers import LoraLinear
from transformers.models.deberta_v2.disentangled_attention import disentangled_attention

pytestmark = pytest.mark.usefixtures("compiled")

SIZES = [1, 3, 4, 5, 511, 512, 513, 100_003]


def reference_bits(seed: int, number: int) -> list[int]:
    """Draw 16 bits an element by SplitMix64, in Python's whole numbers."""
    bits: list[int] = []
    for place in range(1, (number + 3) // 4 + 1):
        z = (seed + place * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        bits.extend(z >> shift & 0xFFFF for shift in (0, 16, 32, 48))
    return bits[:number]


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, 2**63 - 1])
def test_masks_are_those_of_splitmix(seed: int) -> None:
    mask = Mask(seed, 20_000 - 32768, 1.5)
    signed = [bits - 65536 if bits >= 32768 else bits for bits in reference_bits(seed, 1001)]
    wanted = torch.tensor([bits >= mask.lowest for bits in signed])
    assert torch.equal(keep_mask(1001, mask), wanted)
    ones = torch.ones(1001)
    assert torch.equal(kernels_for(ones).drop(ones, mask), wanted * 1.5)


def test_splitmix_gives_its_published_numbers() -> None:
    # The first numbers of seed 1234567, as the algorithm's authors and every implementation of it give them.
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    bits = reference_bits(1234567, 20)
    assert [sum(bits[4 * i + j] << 16 * j for j in range(4)) for i in range(5)] == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", SIZES)
def test_dropout_is_the_plain_one_bit_for_bit(number: int, dtype: torch.dtype) -> None:
    x, outer = torch.randn(number).to(dtype), torch.randn(number).to(dtype)
    x[0] = math.inf

    def compute() -> list[Tensor]:
        own = x.clone().requires_grad_()
        result = dropout(own, 0.3, training=True)
        assert ("Dropped" in type(result.grad_fn).__name__) == calls.uses_kernels()
        return [result.detach(), *torch.autograd.grad(result, own, outer)]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


def test_dropout_can_be_differentiated_twice() -> None:
    x = torch.randn(1000, requires_grad=True)
    result = dropout(x**3, 0.5, training=True)
    (slope,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(curvature, 6 * x.detach() * (result.detach() != 0) * 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 8), (3, 20), (57, 30), (40, 768), (5, 1025)])
@pytest.mark.parametrize("bias", [True, False])
def test_residual_norm(rows: int, width: int, bias: bool, dtype: torch.dtype) -> None:
    dense, norm, drop = nn.Linear(width, width, bias=bias), nn.LayerNorm(width), Dropout(0.2)
    for parameter in (*dense.parameters(), *norm.parameters()):
        nn.init.normal_(parameter)
        parameter.requires_grad_(False)
    dense.to(dtype), norm.to(dtype)
    x, residual, outer = (torch.randn(rows, width).to(dtype) for _ in range(3))

    def compute() -> list[Tensor]:
        own, other = x.clone().requires_grad_(), residual.clone().requires_grad_()
        result = residual_norm(own, other, dense, drop, norm)
        assert ("ResidualNorm" in type(result.grad_fn).__name__) == calls.uses_kernels()
        return [result.detach(), *torch.autograd.grad(result, (own, other), outer)]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        scale = wanted.float().abs().max()
        torch.testing.assert_close(found / scale, wanted / scale, **CLOSE[dtype])


@pytest.mark.parametrize("width", [20, 32, 1031])
def test_the_norm_of_numbers_far_from_zero(width: int) -> None:
    """The variance is that of the distances to the mean, which are 1/1000 of it; against doubles."""
    norm, x, outer = nn.LayerNorm(width).requires_grad_(False), torch.randn(7, width), torch.randn(7, width)
    residual = 1000 + torch.randn(7, width)

    def compute(dtype: torch.dtype) -> list[Tensor]:
        own = [each.to(dtype).requires_grad_() for each in (x, residual)]
        result = residual_norm(own[0], own[1], nn.Identity(), Dropout(0.0), norm.to(dtype))
        return [result.detach(), *torch.autograd.grad(result, own, outer.to(dtype))]

    for found, wanted in zip(compute(torch.float32), compute(torch.float64), strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-3)


def _trained_norm(dense: nn.Linear, norm: nn.LayerNorm) -> nn.Module:
    norm.requires_grad_()
    return dense


def _trained_bias(dense: nn.Linear, norm: nn.LayerNorm) -> nn.Module:
    dense.bias.requires_grad_()
    return dense


def _lora(dense: nn.Linear, norm: nn.LayerNorm) -> nn.Module:
    layer = LoraLinear(8, 8, r=2, lora_alpha=4)
    nn.init.normal_(layer.lora_B)
    return layer


def _watched_norm(dense: nn.Linear, norm: nn.LayerNorm) -> nn.Module:
    norm.register_forward_hook(lambda module, args, result: 2 * result)
    return dense


def _watched_dense(dense: nn.Linear, norm: nn.LayerNorm) -> nn.Module:
    dense.register_forward_hook(lambda module, args, result: 2 * result)
    return dense


@pytest.mark.parametrize("change", [_trained_norm, _trained_bias, _lora, _watched_norm, _watched_dense])
def test_what_is_trained_or_watched_is_computed_as_ever(
    change: Callable[[nn.Linear, nn.LayerNorm], nn.Module],
) -> None:
    dense, norm, drop = nn.Linear(8, 8), nn.LayerNorm(8), Dropout(0.5)
    dense.requires_grad_(False), norm.requires_grad_(False)
    layer = change(dense, norm)
    x, residual = torch.randn(6, 8, requires_grad=True), torch.randn(6, 8, requires_grad=True)
    trained = [p for module in (layer, norm) for p in module.parameters() if p.requires_grad]

    def compute() -> list[Tensor]:
        result = residual_norm(x, residual, layer, drop, norm)
        return [result.detach(), *torch.autograd.grad(result.square().sum(), [x, residual, *trained])]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("processor", ["x86-64-v2", "x86-64-v3"])
def test_narrower_vectors(processor: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled for processors with vectors of 4 and of 8 numbers."""
    if platform.machine() != "x86_64" or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("needs an x86 processor that has them")
    flags = tuple(flag.replace("native", processor) for flag in compiling._FLAGS)
    monkeypatch.setattr(compiling, "_FLAGS", flags)
    library = compiling.load()
    assert library is not None
    assert not calls.has_tiles(library, torch.bfloat16)
    monkeypatch.setattr(calls, "_compiled", {dtype: calls.Kernels(library, dtype)})
    for rows, width in ((1, 8), (3, 20), (40, 768), (5, 1025)):
        test_residual_norm(rows, width, True, dtype)
    layout = PackedLayout.from_mask(masks([70, 33, 16, 5, 1], 70, holes=True))
    for heads, size in ((4, 16), (3, 5)):
        given = [torch.randn(layout.tokens, heads, size).to(dtype) for _ in range(3)]
        tables = [torch.randn(139, heads, size).to(dtype) for _ in range(2)]
        outer = torch.randn(layout.tokens, heads * size).to(dtype)

        def compute(given: list[Tensor] = given, tables: list[Tensor] = tables, outer: Tensor = outer) -> list[Tensor]:
            own = [each.clone().requires_grad_() for each in (*given, *tables)]
            plain, _ = grouped_attention(*own[:3], layout, dropout_prob=0.1)
            placed, _ = disentangled_attention(*own, layout, dropout_prob=0.1)  # type: ignore[call-arg]
            return [plain.detach(), placed.detach(), *torch.autograd.grad(plain + placed, own, outer)]

        check_close(compute, dtype)


SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "apply_lora": True,
    "lora_r": 4,
    "lora_alpha": 8,
}
POSITIONS = {"relative_attention": True, "pos_att_type": "p2c|c2p", "position_buckets": 4, "share_att_key": True}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL)),
    "tokens": lambda: RobertaForTokenClassification(RobertaConfig(**SMALL)),
    "all-linear": lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL, lora_target_modules="all-linear")),
    "checkpointing": lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL, gradient_checkpointing=True)),
    "deberta": lambda: DebertaV2ForSequenceClassification(DebertaV2Config(**SMALL, **POSITIONS)),
    "full": lambda: RobertaForSequenceClassification(RobertaConfig(**{**SMALL, "apply_lora": False})),
}


def test_the_slope_of_gelu_is_the_same_bit_for_bit() -> None:
    every = torch.arange(65536).to(torch.int16).view(torch.bfloat16)
    every = torch.cat([every[every.isfinite()], torch.randn(70_000).bfloat16()])
    outer = torch.randn(every.numel()).bfloat16()

    def compute() -> list[Tensor]:
        x = every.clone().requires_grad_()
        result = gelu(x)
        assert ("Tabulated" in type(result.grad_fn).__name__) == calls.uses_kernels()
        return [result.detach(), *torch.autograd.grad(result, x, outer)]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_learns_the_same(name: str, counts: Counter[tuple[str, bool]]) -> None:
    """Three steps of AdamW: losses and weights; norms are trained in a full fine-tuning, and so computed plainly."""
    lengths = [12, 11, 12, 3, 1, 7]
    mask = masks(lengths, 12, holes=True).long()
    ids = torch.randint(3, 50, (6, 12)) * mask + (1 - mask)
    labels = torch.arange(6) % 2 if name != "tokens" else torch.randint(0, 2, (6, 12))

    def compute() -> list[Tensor]:
        torch.manual_seed(3)
        model = MODELS[name]()
        for parameter_name, parameter in model.named_parameters():
            if "lora_B" in parameter_name:
                nn.init.normal_(parameter, std=0.1)
        model.train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, eps=1e-3)
        losses = []
        for _ in range(3):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return [torch.stack(losses), *(p.detach().clone() for p in model.parameters() if p.requires_grad)]

    ours, plain = both_ways(compute)
    for found, wanted in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    expected = {"attend", "attend_backward", "drop"} | (set() if name == "full" else {"residual_norm"})
    assert set(counts) == {(method, True) for method in expected}


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_a_bit(dtype: torch.dtype) -> None:
    x, norm = torch.randn(200, 768).to(dtype), nn.LayerNorm(768).requires_grad_(False).to(dtype)
    layout = PackedLayout.from_mask(masks([30, 29, 17, 4] * 5, 30, holes=True))
    tokens = [torch.randn(layout.tokens, 4, 16).to(dtype).requires_grad_() for _ in range(3)]
    tables = [torch.randn(59, 4, 16).to(dtype).requires_grad_() for _ in range(2)]
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(2)
        context, _ = disentangled_attention(*tokens, *tables, layout, dropout_prob=0.1)
        gradients = torch.autograd.grad(context.square().sum(), [*tokens, *tables])
        normal = residual_norm(x, x, nn.Identity(), Dropout(0.1), norm)
        found.append([dropout(x, 0.1, True), normal, context, *gradients])
    torch.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one, three)


@pytest.mark.parametrize(
    "x",
    [torch.randn(4, 8, dtype=torch.float64), torch.randn(4, 8).half(), torch.randn(4, 8, device="meta")],
    ids=["float64", "float16", "meta"],
)
def test_other_tensors_are_left_to_plain_operations(x: Tensor) -> None:
    assert kernels_for(x) is None
    assert kernels_for(torch.randn(4, 8), x) is None
