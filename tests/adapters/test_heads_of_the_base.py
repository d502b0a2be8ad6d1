"""Parts of a head that an adapter lacks and the base's checkpoint has: masked words, a pooler, no head at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_models import DEBERTA
from safetensors.torch import load_file, save_file
from tiny import TINY, random_ids, same_tensors, shake, values

from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
)


def write_roberta(folder: Path) -> Path:
    """Write a checkpoint with a masked-word head and a pooler, as the hub's RoBERTa has."""
    torch.manual_seed(0)
    model = RobertaForMaskedLM(RobertaConfig(**TINY))
    shake(model, 0)
    pooler = {n: p for n, p in RobertaForMultipleChoice(model.config).state_dict().items() if "pooler" in n}
    model.save_pretrained(folder, state_dict={**model.state_dict(), **pooler})
    return folder


def write_deberta(folder: Path, legacy: bool) -> Path:
    torch.manual_seed(0)
    model = DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA, legacy=legacy))
    shake(model, 0)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({n: v for n, v in config.items() if n != "legacy"}))  # as published
    return folder


BASES: dict[str, Callable[[Path], Path]] = {
    "roberta": write_roberta,
    "deberta": lambda folder: write_deberta(folder, True),
    "deberta-v3": lambda folder: write_deberta(folder, False),
}


@pytest.fixture(params=BASES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return BASES[request.param](tmp_path / "base")


def trained(auto: Any, base: Path, seed: int) -> PreTrainedModel:
    """Make a model whose LoRA alone has large values; its head is the base's where that has one."""
    torch.manual_seed(seed)
    fields = {"apply_lora": True, "lora_r": 2, "lora_alpha": 4}
    if "deberta" in json.loads((base / "config.json").read_text())["model_type"]:
        fields["lora_position_query"] = True  # PEFT's meaning
    model: PreTrainedModel = auto.from_pretrained(base, **fields)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "classifier" in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def as_of_peft(folder: Path, architecture: str) -> None:
    """Leave of an adapter what PEFT writes of LoRA alone: neither head nor metadata, but the class of the model."""
    (folder / "lora_metadata.json").unlink()
    tensors = {n: t for n, t in load_file(folder / "adapter_model.safetensors").items() if "lora_" in n}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text())
    noted = {"base_model_class": architecture, "parent_library": "transformers"}
    changed = {**config, "modules_to_save": None, "auto_mapping": noted, "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(changed))


def test_a_head_for_masked_words_comes_from_the_base(base: Path, tmp_path: Path) -> None:
    words = trained(AutoModelForMaskedLM, base, 1)
    words.save_adapter(tmp_path / "words")
    as_of_peft(tmp_path / "words", type(words).__name__)
    trained(AutoModelForSequenceClassification, base, 2).save_adapter(tmp_path / "texts")
    texts = AutoModelForSequenceClassification.from_pretrained(base)
    texts.load_adapter(tmp_path / "texts", "texts")
    texts.load_adapter(tmp_path / "words", "words")
    texts.eval().double().float()
    ids = random_ids()
    expected = words(ids).logits
    assert expected.std() > 0.1
    for _ in range(2):  # there and back
        before = texts(ids).logits
        texts.set_adapter("words")
        assert torch.allclose(texts(ids).logits, expected, atol=1e-5)
        mixed = texts(ids, adapter_names=["words", "texts", "words", "texts"])
        assert torch.allclose(mixed.outputs[2].logits, expected[2:3], atol=1e-5)
        assert torch.allclose(mixed.outputs[1].logits, before[1:2], atol=1e-5)
        texts.set_adapter("texts")
        assert torch.equal(texts(ids).logits, before)


def test_a_pooler_comes_from_the_base_or_with_the_adapter(tmp_path: Path) -> None:
    base = write_roberta(tmp_path / "base")
    trained(AutoModelForMultipleChoice, base, 1).save_adapter(tmp_path / "choices")
    own = trained(AutoModelForMultipleChoice, base, 2)
    own.roberta.pooler.requires_grad_(True)
    shake(own.roberta.pooler, 3)
    own.save_adapter(tmp_path / "own-pooler")
    trained(AutoModelForSequenceClassification, base, 4).save_adapter(tmp_path / "texts")
    model = AutoModelForSequenceClassification.from_pretrained(base)
    for name in ("texts", "own-pooler", "choices"):
        model.load_adapter(tmp_path / name, name)
    ids = random_ids().reshape(2, 2, -1)
    alone = {n: AutoModelForMultipleChoice.from_pretrained(tmp_path / n).eval() for n in ("choices", "own-pooler")}
    expected = {name: each(ids).logits for name, each in alone.items()}
    assert not torch.allclose(expected["choices"], expected["own-pooler"], atol=1e-3)
    words = random_ids()
    texts = model.eval()(words).logits
    for name in ("choices", "own-pooler", "choices", "texts", "own-pooler"):
        model.set_adapter(name)
        if name == "texts":
            assert torch.equal(model(words).logits, texts)
        else:
            assert torch.equal(model(ids).logits, expected[name]), name
            model.save_adapter(tmp_path / "again")
            again = AutoModelForMultipleChoice.from_pretrained(tmp_path / "again").eval()
            assert torch.equal(again(ids).logits, expected[name])
    mixed = model(ids, adapter_names=["choices", "own-pooler"]).logits
    assert torch.allclose(mixed, torch.stack([expected["choices"][0], expected["own-pooler"][1]]), atol=1e-5)


def test_a_bare_encoder_stands_beside_heads(base: Path, tmp_path: Path) -> None:
    bare = trained(AutoModel, base, 1)
    bare.save_adapter(tmp_path / "bare")
    texts = trained(AutoModelForSequenceClassification, base, 2)
    ids = random_ids()
    before, expected = texts(ids).logits, bare(ids).last_hidden_state
    texts.load_adapter(tmp_path / "bare", "bare")
    mixed = texts(ids, adapter_names=["bare", "default", "bare", "bare"]).outputs
    assert torch.allclose(mixed[3].last_hidden_state, expected[3:4], atol=1e-5)
    texts.set_adapter("bare")
    assert torch.equal(texts(ids).last_hidden_state, expected)
    with pytest.raises(ValueError, match=r"without a head cannot be saved.*AutoModel"):
        texts.save_adapter(tmp_path / "again")
    texts.set_adapter("default")
    assert torch.equal(texts(ids).logits, before)


def test_a_base_that_was_replaced_on_disk_gives_no_head(tmp_path: Path) -> None:
    base = write_roberta(tmp_path / "base")
    trained(AutoModelForMaskedLM, base, 1).save_adapter(tmp_path / "words")
    as_of_peft(tmp_path / "words", "RobertaForMaskedLM")
    texts = AutoModelForSequenceClassification.from_pretrained(base)
    changed = {name: tensor + 1 for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(changed, base / "model.safetensors", {"format": "pt"})
    before = values(texts)
    with pytest.raises(ValueError, match="holds other weights than when this model was loaded"):
        texts.load_adapter(tmp_path / "words", "words")
    assert same_tensors(values(texts), before)
    assert not texts.adapter_state.loaded


def test_reading_forwards_and_both_ways_are_told_apart(tmp_path: Path) -> None:
    base = write_roberta(tmp_path / "base")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_pretrained(base, apply_lora=True, lora_r=2, lora_alpha=4, is_decoder=True).save_adapter(
        tmp_path / "forwards"
    )
    trained(AutoModelForMaskedLM, base, 1).save_adapter(tmp_path / "words")
    both = AutoModelForMaskedLM.from_pretrained(base)
    with pytest.raises(ValueError, match="trained where tokens see those before them alone"):
        both.load_adapter(tmp_path / "forwards", "forwards")
    forwards = AutoModelForCausalLM.from_pretrained(base, is_decoder=True)
    with pytest.raises(ValueError, match="trained where tokens see each other in both directions"):
        forwards.load_adapter(tmp_path / "words", "words")
    forwards.load_adapter(tmp_path / "forwards", "forwards")
