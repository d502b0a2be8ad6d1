"""Checking the part of ``tokenizer.json`` that puts special tokens around a text; the library panics instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..utils.shapes import ListOf, MapOf, OneOf, Record, Text, Whole, shown

__all__ = ["check_post_processor"]

_ID = Whole(0, 2**31 - 1)
_PLACE = {"type_id": Whole(0, 2**31 - 1)}
_TOKEN_HERE = Record({"id": Text(), **_PLACE}, ("id", "type_id"))
_TEXT_HERE = Record({"id": Text(("A", "B")), **_PLACE}, ("id", "type_id"))
_ELEMENT = OneOf(
    (
        Record({"SpecialToken": _TOKEN_HERE}, required=("SpecialToken",), others=None),
        Record({"Sequence": _TEXT_HERE}, required=("Sequence",), others=None),
    )
)
_SPECIAL = Record({"id": Text(), "ids": ListOf(_ID), "tokens": ListOf(Text())}, ("id", "ids", "tokens"))
_TEMPLATE = Record(
    {"single": ListOf(_ELEMENT), "pair": ListOf(_ELEMENT), "special_tokens": MapOf(_SPECIAL)},
    ("single", "pair", "special_tokens"),
)
_TOKEN_AND_ID = ListOf(OneOf((Text(), _ID)), least=2, most=2)
_AROUND = Record({"sep": _TOKEN_AND_ID, "cls": _TOKEN_AND_ID}, ("sep", "cls"))


def check_post_processor(step: Mapping[str, Any] | None, vocabulary: Mapping[str, int], place: str) -> None:
    """Check that the tokens put around a text are there, with the ids that the vocabulary gives them.

    Args:
        step: The post-processor, as ``tokenizer.json`` has it.
        vocabulary: Token to id, added tokens included.
        place: What it is, for messages.

    Raises:
        ValueError: If a template speaks of a token that it does not describe, or an id is another than its token's.
    """
    if step is None:
        return
    kind = step.get("type")
    if kind == "Sequence":
        ListOf(Record({"type": Text()}, ("type",))).check(step.get("processors"), f"{place}.processors")
        for number, inner in enumerate(step["processors"]):
            check_post_processor(inner, vocabulary, f"{place}.processors[{number}]")
    elif kind == "TemplateProcessing":
        _TEMPLATE.check(step, place)
        _check_template(step, place)
    elif kind in ("BertProcessing", "RobertaProcessing"):
        _AROUND.check(step, place)
    size = 1 + max(vocabulary.values(), default=-1)
    for token, token_id in _special_tokens(step):
        if token_id >= size or vocabulary.get(token, token_id) != token_id:
            raise ValueError(
                f"{place}: the token {shown(token)} has id {token_id}, but {vocabulary.get(token)} in the vocabulary."
            )


def _check_template(step: Mapping[str, Any], place: str) -> None:
    described = step["special_tokens"]
    for name in ("single", "pair"):
        for number, element in enumerate(step[name]):
            wanted = element.get("SpecialToken", {}).get("id")
            if wanted is not None and wanted not in described:
                raise ValueError(
                    f"{place}.{name}[{number}] is the special token {shown(wanted)}; one of {shown(list(described))} "
                    "was expected, which special_tokens describes."
                )
    for name, special in described.items():
        if len(special["ids"]) != len(special["tokens"]) or special["id"] != name:
            raise ValueError(f"{place}.special_tokens.{name[:80]} is {shown(special)}; an id a token was expected.")


def _special_tokens(step: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Give each token that a step names, with its id."""
    if step.get("type") == "TemplateProcessing":
        for special in step["special_tokens"].values():
            yield from zip(special["tokens"], special["ids"], strict=True)
    elif step.get("type") in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            token, token_id = step[name]
            OneOf((Text(),)).check(token, f"post_processor.{name}[0]")
            _ID.check(token_id, f"post_processor.{name}[1]")
            yield token, token_id
