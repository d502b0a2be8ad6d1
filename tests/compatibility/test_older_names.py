"""What code written for 4.4.2 imports beside models: masks, counts, samplers, nested tensors, files, callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import random_ids, tiny_config
from torch import nn

import transformers
from transformers import RobertaForSequenceClassification, RobertaModel, Trainer, TrainerCallback, TrainingArguments
from transformers import trainer as trainer_module
from transformers.commands.transformers_cli import main
from transformers.file_utils import cached_path, is_tensor, to_py_obj
from transformers.modeling_utils import (
    ModuleUtilsMixin,
    apply_chunking_to_forward,
    find_pruneable_heads_and_indices,
    get_parameter_device,
    get_parameter_dtype,
    prune_linear_layer,
)
from transformers.trainer_pt_utils import (
    DistributedLengthGroupedSampler,
    DistributedSamplerWithLoop,
    SequentialDistributedSampler,
    distributed_broadcast_scalars,
    nested_expand_like,
    nested_new_like,
    numpy_pad_and_concatenate,
    torch_pad_and_concatenate,
)


def _model() -> RobertaModel:
    return RobertaModel(tiny_config()).eval()


# Models ---------------------------------------------------------------------------------------------------------


def test_masks_in_the_form_of_4_4_2() -> None:
    model = _model()
    assert isinstance(model, ModuleUtilsMixin)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    extended = model.get_extended_attention_mask(mask, (2, 3), mask.device)
    assert extended.tolist() == [[[[0, 0, -10000]]], [[[0, -10000, -10000]]]]
    by_query = model.get_extended_attention_mask(torch.ones(2, 3, 3), (2, 3))
    assert by_query.shape == (2, 1, 3, 3)
    assert model.half().invert_attention_mask(mask).dtype == torch.float16
    with pytest.raises(ValueError, match=r"attention_mask has shape \(3,\)"):
        model.get_extended_attention_mask(mask[0], (3,))


def test_head_masks_in_the_form_of_4_4_2() -> None:
    model = _model()
    assert model.get_head_mask(None, 2) == [None, None]
    one = model.get_head_mask(torch.tensor([1, 0, 1, 1]), 2)
    each = model.get_head_mask(torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0]]), 2, is_attention_chunked=True)
    assert isinstance(one, torch.Tensor)
    assert isinstance(each, torch.Tensor)
    assert one.shape == (2, 1, 4, 1, 1)
    assert each.shape == (2, 1, 4, 1, 1, 1)
    assert each.flatten().tolist() == [1, 0, 1, 1, 1, 1, 1, 0]
    with pytest.raises(ValueError, match="head_mask has shape"):
        model.get_head_mask(torch.ones(1, 1, 1), 2)


def test_work_is_six_operations_a_value_and_token() -> None:
    model = _model()
    values = model.num_parameters(exclude_embeddings=True)
    assert values < model.num_parameters()
    batch = {"input_ids": random_ids(3, 5), "attention_mask": torch.ones(3, 5)}
    assert model.estimate_tokens(batch) == 15
    assert model.floating_point_ops(batch) == 6 * 15 * values
    assert model.floating_point_ops(batch, exclude_embeddings=False) == 6 * 15 * model.num_parameters()
    assert model.estimate_tokens({"inputs_embeds": torch.ones(2, 4, 32)}) == 8
    assert model(**model.dummy_inputs).last_hidden_state.shape == (3, 5, 32)


def test_pruning_is_refused_with_what_does_the_same() -> None:
    with pytest.raises(NotImplementedError, match="pass head_mask"):
        _model().prune_heads({0: [1]})


def test_chunks_give_what_the_whole_gives() -> None:
    layer, x = nn.Linear(4, 3), torch.randn(2, 6, 4)
    for size in (0, 1, 2, 3, 6):
        assert torch.allclose(apply_chunking_to_forward(layer, size, 1, x), layer(x))
    with pytest.raises(ValueError, match="a multiple of chunk_size 4"):
        apply_chunking_to_forward(layer, 4, 1, x)


def test_rows_and_columns_of_a_layer() -> None:
    heads, kept = find_pruneable_heads_and_indices([0, 1, 3], 3, 2, {0})
    assert heads == {1, 3}
    assert kept.tolist() == [2, 3]  # of the heads 1, 2, 3 that are left the middle one stays
    layer, x = nn.Linear(6, 4), torch.randn(5, 6)
    assert torch.allclose(prune_linear_layer(layer, torch.tensor([2, 0]))(x), layer(x)[:, [2, 0]], atol=1e-6)
    columns = torch.tensor([1, 4])
    only = torch.zeros_like(x)
    only[:, columns] = x[:, columns]
    assert torch.allclose(prune_linear_layer(layer, columns, dim=1)(x[:, columns]), layer(only), atol=1e-6)
    assert get_parameter_device(layer) == torch.device("cpu")
    assert get_parameter_dtype(layer.double()) == torch.float64


# Samplers (the orders of two are upstream 5.23's, which still has them) ---------------------------------------------


def test_samplers_of_several_processes() -> None:
    data: Any = range(11)
    looped = [list(DistributedSamplerWithLoop(data, 4, num_replicas=2, rank=r, shuffle=False)) for r in (0, 1)]
    assert looped == [[0, 2, 4, 6, 8, 10, 2, 4], [1, 3, 5, 7, 9, 0, 1, 3]]
    assert [list(SequentialDistributedSampler(data, 2, r)) for r in (0, 1)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 0],
    ]
    wide = SequentialDistributedSampler(data, 2, 1, batch_size=4)
    assert (len(wide), list(wide)) == (8, [8, 9, 10, 0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match="rank is 2; a number from 0 to 1"):
        SequentialDistributedSampler(data, 2, 2)


def test_lengths_are_grouped_and_dealt_out() -> None:
    lengths = [3, 9, 1, 5, 7, 2, 8]
    shares = [DistributedLengthGroupedSampler(None, 2, 2, rank, seed=3, lengths=lengths) for rank in (0, 1)]
    assert [list(share) for share in shares] == [[1, 6, 0, 3], [5, 4, 2, 1]]
    for share in shares:
        share.set_epoch(1)
    assert [list(share) for share in shares] != [[1, 6, 0, 3], [5, 4, 2, 1]]
    assert {*shares[0], *shares[1]} == set(range(7))
    dropping = DistributedLengthGroupedSampler(None, 2, 2, 0, drop_last=True, lengths=lengths)
    assert len(dropping) == len(list(dropping)) == 3
    rows = [{"input_ids": [0] * length} for length in lengths]
    assert sorted(DistributedLengthGroupedSampler(rows, 2)) == list(range(7))


def test_nested_tensors() -> None:
    first, second = torch.ones(2, 2), torch.ones(1, 3)
    assert torch_pad_and_concatenate(first, second).tolist() == [[1, 1, -100], [1, 1, -100], [1, 1, 1]]
    assert numpy_pad_and_concatenate(np.ones((1, 1)), np.ones((1, 2)), 7).tolist() == [[1, 7], [1, 1]]
    new = nested_new_like((np.ones((2, 3), dtype=np.int64),), 4)
    assert new[0].shape == (4, 3)
    assert (new[0] == -100).all()
    assert nested_expand_like([np.ones((1, 2))], 3)[0].tolist() == [[1, 1, -100]]
    assert distributed_broadcast_scalars([1.0, 2.0, 3.0], num_total_examples=2).tolist() == [1, 2]
    assert to_py_obj({"a": [torch.ones(2)], "b": np.float32(1)}) == {"a": [[1, 1]], "b": 1}
    assert is_tensor(np.ones(1))
    assert not is_tensor([1])


# Files, command line, Trainer -----------------------------------------------------------------------------------


def test_cached_path_of_files_and_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert cached_path(tmp_path / "a.txt") == str(tmp_path / "a.txt")
    assert transformers.cached_path is cached_path
    with pytest.raises(OSError, match="does not exist; a file, or the address"):
        cached_path(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="is no file of a hub repository"):
        cached_path("https://example.org/resolve.txt")
    with pytest.raises(ValueError, match="unpacks no archives"):
        cached_path("a.tar", extract_compressed_file=True)
    snapshot = tmp_path / "cache" / "models--someone--thing"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("abc")
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    (snapshot / "snapshots" / "abc" / "config.json").write_text("{}")
    found = cached_path(
        "https://huggingface.co/someone/thing/resolve/main/config.json",
        cache_dir=tmp_path / "cache",
        local_files_only=True,
    )
    assert Path(found).read_text() == "{}"


def test_the_environment_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    printed = capsys.readouterr().out
    assert f"- transformers version: {transformers.__version__}" in printed
    assert f"- torch version: {torch.__version__.partition('+')[0]}" in printed
    assert "- python: 3." in printed


@pytest.mark.parametrize(
    ("command", "words"), [("login", "hf auth login"), ("convert", "upstream"), ("run", "transformers.pipeline")]
)
def test_other_commands_of_4_4_2_say_what_to_use(command: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--anything"]) == 2
    assert words in capsys.readouterr().err


class _Seen(TrainerCallback):
    pass


def test_every_trainer_starts_with_the_default_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "DEFAULT_CALLBACKS", [*trainer_module.DEFAULT_CALLBACKS, _Seen])
    monkeypatch.setattr(trainer_module, "DEFAULT_PROGRESS_CALLBACK", _Seen)
    trainer = Trainer(
        RobertaForSequenceClassification(tiny_config()),
        TrainingArguments(str(tmp_path), report_to=[], disable_tqdm=False),
    )
    kinds = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    assert kinds[0] == "DefaultFlowCallback"
    assert kinds.count("_Seen") == 2
    assert "ProgressCallback" not in kinds
