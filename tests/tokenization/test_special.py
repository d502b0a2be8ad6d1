"""Special tokens: lists that are none, unknown roles, and warnings that a script does not want."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from transformers import BertTokenizer, RobertaTokenizer


@pytest.mark.parametrize("key", ["additional_special_tokens", "extra_special_tokens"])
def test_a_single_text_is_no_list_of_tokens(roberta: RobertaTokenizer, roberta_folder: Path, key: str) -> None:
    size = len(roberta)
    offered: list[Any] = [{key: "<a>"}, {"pad_token": "<new>", key: "<a>"}]
    for tokens in offered:
        with pytest.raises(ValueError, match=f"^{key} is a list of tokens, and '<a>' is none"):
            roberta.add_special_tokens(tokens)
    with pytest.raises(ValueError, match=rf"^{key} is a list of tokens"):
        RobertaTokenizer.from_pretrained(roberta_folder, **{key: "<a>"})
    with pytest.raises(ValueError, match=r"^additional_special_tokens is a list of tokens"):
        roberta.additional_special_tokens = "<a>"  # type: ignore[assignment]
    assert (len(roberta), roberta.additional_special_tokens, roberta.pad_token) == (size, [], "<pad>")
    assert roberta.add_special_tokens({key: ["<a>"]}) == 1
    assert roberta.additional_special_tokens == ["<a>"]


def test_an_unknown_role_changes_nothing(roberta: RobertaTokenizer) -> None:
    with pytest.raises(ValueError, match="'padding' is no special token's role"):
        roberta.add_special_tokens({"pad_token": "<new>", "padding": "<p>"})
    assert roberta.pad_token == "<pad>"


def test_new_tokens_get_ids_in_the_order_given(roberta: RobertaTokenizer) -> None:
    size = len(roberta)
    assert roberta.add_special_tokens({"additional_special_tokens": ["<a>", "<b>"], "pad_token": "<c>"}) == 3
    assert roberta.convert_tokens_to_ids(["<a>", "<b>", "<c>"]) == [size, size + 1, size + 2]


def test_the_warning_of_long_texts_can_be_switched_off(bert: BertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    assert bert.init_inputs == ()
    assert bert.deprecation_warnings == {}
    bert.model_max_length = 3
    bert.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING):
        bert("a b c d e f")
        assert "A text has" not in caplog.text
        bert.deprecation_warnings.clear()
        bert("a b c d e f")
    assert "the model takes at most 3" in caplog.text
