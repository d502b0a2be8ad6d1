"""The page on the HTTP API, made of the server's own description."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["http_page"]

_METHODS = ("get", "post", "put", "delete")
_ANSWERED = {"Successful Response": "All is well."}  # FastAPI's words
_NEVER = "Validation Error"  # FastAPI states it of every path with a name in it; any text is a name


def http_page() -> tuple[str, str]:
    """Give the page, as its file's name and its Markdown."""
    description = _description()
    parts = [
        "# HTTP API",
        "What `transformers-cli serve` answers; [Serving](../serving.md) is how to use it. A running server has the "
        'same description as OpenAPI at `/openapi.json`. Every error is `{"error": "one sentence"}`.',
    ]
    for path, methods in description["paths"].items():
        for method in _METHODS:
            if method in methods:
                parts += _section(method, path, methods[method])
    return "http_api.md", "\n\n".join(parts) + "\n"


def _description() -> dict[str, Any]:
    """Ask an application over a base without weights to speak of."""
    from transformers import RobertaConfig, RobertaModel
    from transformers.serving.app import make_application
    from transformers.serving.engine import Engine
    from transformers.serving.options import ServeOptions

    with tempfile.TemporaryDirectory() as folder:
        sizes = {"vocab_size": 8, "hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8}
        RobertaModel(RobertaConfig(num_hidden_layers=1, **sizes)).save_pretrained(Path(folder, "base"))
        application = make_application(ServeOptions(folder), Engine(str(Path(folder, "base")), "cpu"), {})
        found: dict[str, Any] = application.openapi()
    return found


def _section(method: str, path: str, route: dict[str, Any]) -> list[str]:
    name = path.strip("/").replace("/", "-").replace("{", "").replace("}", "")
    parts = [f"## {method.upper()} {path} {{ #{method}-{name} }}", route.get("description", route["summary"])]
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    properties = body.get("schema", {}).get("properties", {})
    if properties:
        rows = [f"| `{field}` | {about.get('description', '')} |" for field, about in properties.items()]
        more = body["schema"].get("additionalProperties", {}).get("description", "")
        rows += [f"| any other | {more} |"] if more else []
        parts += ["\n".join(("| field of the body | what it is |", "| --- | --- |", *rows))]
    for title, example in body.get("examples", {}).items():
        parts += [f"*{title.capitalize()}*", f"```json\n{json.dumps(example['value'], ensure_ascii=False)}\n```"]
    said = {code: about["description"] for code, about in route["responses"].items()}
    rows = [f"| {code} | {_ANSWERED.get(text, text)} |" for code, text in said.items() if text != _NEVER]
    if len(rows) > 1:
        parts += ["\n".join(("| status | when |", "| --- | --- |", *rows))]
    return parts
