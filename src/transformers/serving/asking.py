"""A request's body: bytes to an adapter's name, texts and choices, or one sentence on what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..pipelines.base import Asked, Pipeline
from ..pipelines.options import Options
from .refusal import Refusal, one_line

__all__ = ["EXAMPLES", "SCHEMA", "Question", "make_rows", "read_question"]

_NOT_OFFERED = ("batch_size", "return_tensors")  # choices of a pipeline that say nothing here
_LARGEST = 2**31 - 1  # a choice above is no number of tokens, labels or words
_TYPES: dict[type[Options], TypeAdapter[Any]] = {}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["adapter", "inputs"],
    "properties": {
        "adapter": {"type": "string", "description": "The name of an adapter's folder."},
        "inputs": {
            "description": 'A text, {"text", "text_pair"}, {"question", "context"}, {"context", "choices"}; a list.',
            "oneOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": ["string", "array"]}},
                {"type": "array", "items": {}},
            ],
        },
    },
    "additionalProperties": {"description": "A choice of the adapter's pipeline, such as top_k or truncation."},
}
EXAMPLES = {
    "text": {"value": {"adapter": "sentiment", "inputs": "A fine film.", "top_k": None}},
    "pair": {"value": {"adapter": "mrpc", "inputs": {"text": "He left.", "text_pair": "He went away."}}},
    "mask": {"value": {"adapter": "films", "inputs": "A <mask> film.", "top_k": 3}},
    "choices": {"value": {"adapter": "swag", "inputs": {"context": "She fell.", "choices": ["She rose.", "It is."]}}},
    "question": {"value": {"adapter": "squad", "inputs": {"question": "Who left?", "context": "Ada left."}}},
}


@dataclass(frozen=True)
class Question:
    """What a request asks.

    Attributes:
        adapter: The adapter's name.
        inputs: One example or a list of them, as the adapter's pipeline takes them.
        choices: The pipeline's choices.
    """

    adapter: str
    inputs: Any
    choices: Mapping[str, Any]


def read_question(body: bytes, max_texts: int) -> Question:
    """Read the body of a request.

    Args:
        body: JSON in UTF-8.
        max_texts: The most texts it may have.

    Raises:
        Refusal: If it is something else.
    """
    content = _read_json(body)
    if not isinstance(content, dict):
        raise Refusal(422, 'The body is no object; {"adapter": …, "inputs": …} was expected.')
    missing = next((name for name in ("adapter", "inputs") if name not in content), None)
    if missing is not None:
        raise Refusal(422, f'The body has no "{missing}"; {{"adapter": …, "inputs": …}} was expected.')
    adapter, inputs = content.pop("adapter"), content.pop("inputs")
    if not isinstance(adapter, str):
        raise Refusal(422, '"adapter" is no text; the name of an adapter was expected.')
    if isinstance(inputs, list) and len(inputs) > max_texts:
        raise Refusal(422, f"The request has {len(inputs)} texts; at most {max_texts} are answered at once.")
    if inputs == [] or any(_is_empty(each) for each in (inputs if isinstance(inputs, list) else [inputs])):
        raise Refusal(422, '"inputs" is empty, or has an empty text.')
    return Question(adapter, inputs, content)


def _read_json(body: bytes) -> Any:
    if not body.strip():
        raise Refusal(400, 'The body is empty; {"adapter": …, "inputs": …} was expected.')
    try:
        text = body.decode("utf-8")
        content = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # \ud800 alone is JSON, but no text
    except UnicodeError as error:
        raise Refusal(400, f"The body is not UTF-8: {one_line(error)}.") from error
    except RecursionError as error:
        raise Refusal(400, "The body is nested too deeply.") from error
    except ValueError as error:
        raise Refusal(400, f"The body is not JSON: {one_line(error)}.") from error
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _is_empty(example: Any) -> bool:
    """Say whether an example, or what must not be empty in it, is an empty text."""
    if isinstance(example, dict):
        example = example.get("text")
    return isinstance(example, str) and not example.strip()


def make_rows(pipeline: Pipeline, question: Question) -> Asked:
    """Make rows of tokens of what is asked.

    Raises:
        Refusal: If the adapter's pipeline does not take it; the sentence says why.
    """
    choices = dict(question.choices)
    offered = next((name for name in choices if name in _NOT_OFFERED), None)
    if offered is not None:
        raise Refusal(422, f"'{offered}' is no choice here.")
    large = next((name for name, value in choices.items() if isinstance(value, int) and abs(value) > _LARGEST), None)
    if large is not None:
        raise Refusal(422, f"'{large}' is too large a number.")
    kind = type(pipeline.options)
    try:
        _types(kind).validate_python({each.name: choices[each.name] for each in fields(kind) if each.name in choices})
        return pipeline.ask(question.inputs, **choices)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        what = first["msg"].removeprefix("Value error, ").removesuffix(".").replace("valid tuple", "valid list")
        raise Refusal(422, f"'{name}': {what}." if name else f"{what}.") from error
    except (ValueError, TypeError) as error:
        raise Refusal(422, one_line(error)) from error


def _types(options: type[Options]) -> TypeAdapter[Any]:
    """Give what checks the types of a pipeline's choices."""
    if options not in _TYPES:
        _TYPES[options] = TypeAdapter(options)
    return _TYPES[options]
