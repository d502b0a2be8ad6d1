"""On an accelerator no step waits for the device: models, outputs and gradients, where lengths were handed along.

The device is pretended (`pretended_device`), so these run everywhere; `tests/gpu` runs the models on a real one.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_models import HEADS, labels_for, loss_of, make_head, padded_batch
from method_models import CHOICES, make_model
from pretended_device import DEVICE, PretendedDevice, pretended_device
from tiny import LORA, shake
from torch import Tensor

from transformers import PreTrainedModel
from transformers.layers.packing import PackedLayout
from transformers.layers.transfer import change_both, on_cpu, send, send_together
from transformers.training.batches import to_device

CPU = torch.device("cpu")


def _computed(model: PreTrainedModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the outputs, and the gradients of all that is trained."""
    model.zero_grad()
    output = model(**inputs)
    loss_of(output).backward()
    outputs = {name: value.detach() for name, value in output.items() if isinstance(value, Tensor)}
    return {**outputs, **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def _assert_computed_without_waits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    wanted = _computed(model, inputs)
    with pretended_device() as device:
        device.bring(model)
        moved = to_device(inputs, DEVICE)
        found = _computed(model, moved)
        assert device.waits == []
        assert all(value.device == DEVICE for value in found.values())
        found = {name: value.cpu() for name, value in found.items()}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        limit = 3e-5 * max(1.0, float(value.abs().max()))
        torch.testing.assert_close(
            found[name], value, atol=limit, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("family", "task"), HEADS)
def test_heads(family: str, task: str) -> None:
    model = make_head(family, task, **LORA, lora_target_modules="all-linear").train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch("holes", task)
    _assert_computed_without_waits(model, {**inputs, **labels_for(task, inputs)})


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_methods(family: str, choice: str) -> None:
    torch.manual_seed(0)
    model = make_model(family, **CHOICES[choice]).train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch()
    _assert_computed_without_waits(model, {**inputs, **labels_for("sequence-classification", inputs)})


@pytest.mark.parametrize("family", ["roberta", "deberta"])
@pytest.mark.parametrize("case", ["words where labels count", "recomputed", "no mask", "layers wanted"])
def test_other_ways(family: str, case: str) -> None:
    model = make_head(family, "masked-lm", **LORA).train()
    shake(model, 3, scale=0.3)
    inputs = padded_batch("holes")
    inputs = {**inputs, **labels_for("masked-lm", inputs)}
    if case == "words where labels count":
        model.sparse_prediction = True  # type: ignore[assignment]
    elif case == "recomputed":
        model.gradient_checkpointing_enable()
    elif case == "no mask":
        del inputs["attention_mask"]
    else:
        model.config.output_hidden_states = model.config.output_attentions = True
    _assert_computed_without_waits(model, inputs)


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_dropout_and_a_second_pass(family: str) -> None:
    fields = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "lora_dropout": 0.1}
    ids = {"cls_token_id": 0, "sep_token_id": 2, "unk_token_id": 3, "consistency": "cutoff", "masking_prob": 0.2}
    model = make_head(family, "sequence-classification", **{**LORA, **fields, **ids}).train()
    inputs = padded_batch()
    with pretended_device() as device:
        device.bring(model)
        moved = to_device({**inputs, **labels_for("sequence-classification", inputs)}, DEVICE)
        loss = model(**moved).loss
        loss.backward()
        assert device.waits == []
        assert bool(torch.isfinite(loss))


@pytest.mark.parametrize("family", ["roberta", "deberta"])
def test_the_mask_of_a_caller_is_waited_for_once_and_one_on_the_cpu_never(family: str) -> None:
    model, inputs = make_head(family, "token-classification", **LORA), padded_batch("holes")
    wanted = model(**inputs).logits
    with pretended_device() as device:
        device.bring(model)
        ids, mask = (inputs[name].to(DEVICE, non_blocking=True) for name in ("input_ids", "attention_mask"))
        on_device = model(input_ids=ids, attention_mask=mask).logits
        assert len(device.waits) == 1
        device.waits.clear()
        on_both = model(input_ids=ids, attention_mask=inputs["attention_mask"]).logits
        assert device.waits == []
        on_device, on_both = on_device.cpu(), on_both.cpu()
    torch.testing.assert_close(on_device, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(on_both, wanted, atol=1e-5, rtol=0)


def _known(tensor: Tensor, device: PretendedDevice) -> bool:
    """Say whether a tensor's values are given without a wait."""
    before = len(device.waits)
    on_cpu(tensor)
    return len(device.waits) == before


def test_what_was_sent_is_known_until_it_is_written_into() -> None:
    values = torch.arange(6).view(2, 3)
    with pretended_device() as device:
        sent = send(values, DEVICE)
        assert _known(sent, device)
        assert torch.equal(on_cpu(sent), values)
        longer = change_both(lambda tensor: tensor.flatten(), sent)
        assert _known(longer, device)
        assert torch.equal(on_cpu(longer), values.flatten())
        assert not _known(sent + 1, device)
        sent[0, 0] = 9
        assert not _known(sent, device)
        assert on_cpu(sent).tolist() == [[9, 1, 2], [3, 4, 5]]
        again = send(values, DEVICE)
        values[1, 1] = 7  # what is there does not know of it
        assert not _known(again, device)
        assert on_cpu(again).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_inference_tensors_and_the_cpu() -> None:
    values = torch.arange(3)
    assert send(values, CPU) is values
    assert on_cpu(values) is values
    assert send_together([values], CPU)[0] is values
    with torch.inference_mode(), pretended_device() as device:
        sent = send(torch.ones(3), DEVICE)
        assert on_cpu(sent).tolist() == [1, 1, 1]
        assert len(device.waits) == 1


def test_a_mask_changed_after_it_was_sent_is_honoured() -> None:
    mask = torch.ones(2, 4, dtype=torch.long)
    with pretended_device():
        sent = to_device({"attention_mask": mask}, DEVICE)["attention_mask"]
        sent[0, 2:] = 0
        layout = PackedLayout.from_mask(sent)
        assert [(group.rows, group.length) for group in layout.groups] == [(2, 4)]
        assert layout.valid is not None
        assert layout.valid.cpu().sum() == 6


def test_the_pretended_device_tells_of_waits_and_keeps_the_two_sides_apart() -> None:
    reads: list[Any] = [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool(x.any()),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
        lambda x: x.unique(),
        lambda x: torch.tensor([1, 2], device=DEVICE),
        lambda x: torch.ones(2).to(DEVICE),
    ]
    with pretended_device() as device:
        x = torch.arange(3, device=DEVICE)
        x.add_(1).float().mean()
        assert device.waits == []
        for number, read in enumerate(reads, start=1):
            read(x)
            assert len(device.waits) == number
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.arange(3)
