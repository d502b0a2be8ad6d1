"""What the model card of a saved folder says: of an adapter what was trained on which base, and how both are loaded.

PEFT's form is the hub's ``library_name: peft``, so that its page shows the adapter under its base, with PEFT's lines
to load it; what PEFT cannot hold, and a whole model, is ``transformers``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..configuration.lora_options import LORA_OPTIONS
from ..layers.quantized import number_of_values
from ..utils.hub import looks_like_path
from ..utils.json_files import load_json
from ..utils.model_card import CardContent, as_table, write_card
from ..version import __version__
from .interface import AdaptableModel
from .metadata import library_versions
from .part_format import PART_METADATA_NAME
from .reading import CONFIG_NAME, METADATA_NAME
from .saving import adapter_tensors

__all__ = ["describe_saved", "write_model_card"]

_PIPELINES = {
    "feature-extraction": '"A sentence."',
    "fill-mask": 'f"A {tell.tokenizer.mask_token} sentence."',
    "question-answering": 'question="What is it?", context="It is a sentence."',
    "text-classification": '"A sentence."',
    "token-classification": '"A sentence."',
}
_MANY_LABELS = 50
_LICENSE = (
    "None is stated yet. Whoever publishes this chooses one and writes it into the metadata at the top "
    "(`license: …`); the base's license and that of the data may say which ones are possible."
)


def describe_saved(
    model: AdaptableModel, folder: Path, *, repo_id: str | None = None, tags: Sequence[str] = ()
) -> CardContent:
    """Describe what was just saved: an adapter where the folder holds one, else the whole model.

    Args:
        model: The model that was saved.
        folder: Where it was saved.
        repo_id: Its name on the hub, where it goes there.
        tags: Further tags.

    Raises:
        OSError: If the adapter's metadata cannot be read.
        ValueError: If it is damaged.
    """
    if (folder / CONFIG_NAME).is_file():
        peft_type = str(load_json(folder / CONFIG_NAME)["peft_type"])
        about = load_json(folder / METADATA_NAME)
        return _adapter(model, about, None if peft_type == "LORA" else peft_type, repo_id, tags)
    if (folder / PART_METADATA_NAME).is_file():
        return _adapter(model, load_json(folder / PART_METADATA_NAME), "its form has no place for it", repo_id, tags)
    return _whole(model, repo_id, tags)


def write_model_card(
    model: AdaptableModel,
    folder: str | os.PathLike[str],
    *,
    repo_id: str | None = None,
    tags: Sequence[str] = (),
) -> None:
    """Write the card of what was just saved, unless a person's stands there; it never makes a save fail.

    Args:
        model: The model that was saved.
        folder: Where it was saved.
        repo_id: Its name on the hub, where it goes there.
        tags: Further tags.
    """
    write_card(Path(folder), lambda: describe_saved(model, Path(folder), repo_id=repo_id, tags=tags))


def _adapter(
    model: AdaptableModel, about: Mapping[str, Any], beyond_peft: str | None, repo_id: str | None, tags: Sequence[str]
) -> CardContent:
    base, kind = str(about["base_model_name_or_path"]), _kind(about)
    metadata = {
        **_metadata(model, base),
        "base_model_relation": "adapter" if _is_public(base) else None,
        "library_name": "transformers" if beyond_peft else "peft",
        "tags": _unique(["lora"] if about["lora_r"] else [], tags),
    }
    head = ", with its head" if model.has_head else ""
    refused = f"PEFT refuses it: {beyond_peft}."
    sections = [
        ("What this is", f"{kind} of {_named(base)}{_task(model)}{head}.{_where_base_is(base, about)}"),
        ("Use", _use(model, repo_id)),
        ("Use with PEFT", refused if beyond_peft else _use_with_peft(model, base, repo_id)),
        ("What was trained", as_table(_trained(model, about))),
        *_labels(model),
        ("License", _LICENSE),
        ("Environment", as_table(about["versions"])),
    ]
    return CardContent(_title(kind, base, repo_id), metadata, sections)


def _whole(model: AdaptableModel, repo_id: str | None, tags: Sequence[str]) -> CardContent:
    base = model.base_record.source
    kind = type(model).__name__
    metadata = {**_metadata(model, base), "library_name": "transformers", "tags": _unique(tags)}
    start = f", started from {_named(base)}" if base else ""
    sections = [
        ("What this is", f"A `{kind}`{_task(model)}{start}: {number_of_values(model):,} values."),
        ("Use", _use(model, repo_id)),
        *_labels(model),
        ("License", _LICENSE),
        ("Environment", as_table({"transformers": __version__, **library_versions()})),
    ]
    return CardContent(_title(kind, base, repo_id), metadata, sections)


def _metadata(model: AdaptableModel, base: str) -> dict[str, Any]:
    return {"base_model": base if _is_public(base) else None, "pipeline_tag": model.pipeline_tag}


def _unique(*groups: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tag for group in groups for tag in group))


# The base ---------------------------------------------------------------------------------------------------------


def _is_public(base: str) -> bool:
    """Say whether a base has the form of a hub's name, and is not a folder here."""
    return bool(base) and not looks_like_path(base) and not Path(base).is_dir()


def _named(base: str) -> str:
    if not base:
        return "a base that was made where it was trained"
    return f"`{base if _is_public(base) else Path(base).name}`"


def _where_base_is(base: str, about: Mapping[str, Any]) -> str:
    if _is_public(base):
        return ""
    digest = f" Its weights have the sha256 `{about['base_sha256']}`." if about.get("base_sha256") else ""
    return (
        f" The base was a folder where this was trained; elsewhere name it with `base_model_name_or_path=…`.{digest} "
        "Where the hub has it too, its name belongs into the metadata (`base_model: …`)."
    )


def _title(kind: str, base: str, repo_id: str | None) -> str:
    if repo_id is not None:
        return repo_id.rpartition("/")[2]
    name = (base if _is_public(base) else Path(base).name) if base else ""
    return f"{kind} of {name}" if name else kind


# How it is used ---------------------------------------------------------------------------------------------------


def _use(model: AdaptableModel, repo_id: str | None) -> str:
    call = _PIPELINES.get(model.pipeline_tag or "")
    if call is not None and _is_of_package(model):
        lines = [
            "from transformers import pipeline",
            "",
            _name_line(repo_id),
            f'tell = pipeline("{model.pipeline_tag}", model=name)',
            f"print(tell({call}))",
        ]
    else:
        lines = [_import_of(model), "", _name_line(repo_id), f"model = {type(model).__name__}.from_pretrained(name)"]
    return _python(lines)


def _use_with_peft(model: AdaptableModel, base: str, repo_id: str | None) -> str:
    labels = f", num_labels={model.config.num_labels}" if model.label_parameters() else ""
    where = base if _is_public(base) else f"path/to/{Path(base).name or 'base'}"
    return _python(
        [
            "from peft import PeftModel",
            _import_of(model),
            "",
            _name_line(repo_id),
            f'base = {type(model).__name__}.from_pretrained("{where}"{labels})',
            "model = PeftModel.from_pretrained(base, name)",
        ]
    )


def _is_of_package(model: AdaptableModel) -> bool:
    return type(model).__module__.startswith("transformers.")


def _import_of(model: AdaptableModel) -> str:
    module = "transformers" if _is_of_package(model) else type(model).__module__
    return f"from {module} import {type(model).__name__}"


def _name_line(repo_id: str | None) -> str:
    return (
        f'name = "{repo_id}"' if repo_id is not None else 'name = "."  # this folder; elsewhere its path, or its name'
    )


def _python(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


# What was trained -------------------------------------------------------------------------------------------------


def _kind(about: Mapping[str, Any]) -> str:
    if about["lora_r"] and not about.get("methods", {}).get("apply_adapter"):
        return "LoRA adapter"
    return "Adapter"


def _task(model: AdaptableModel) -> str:
    return "" if model.pipeline_tag is None else f" for {model.pipeline_tag}"


def _trained(model: AdaptableModel, about: Mapping[str, Any]) -> dict[str, object]:
    tensors = adapter_tensors(model)
    count, total = sum(tensor.numel() for tensor in tensors.values()), number_of_values(model)
    rows: dict[str, object] = {}
    if about["lora_r"]:
        targets = about.get("target_modules") or about["lora_targets"]
        rows = {
            "r": about["lora_r"],
            "alpha": about["lora_alpha"],
            "scaling": about["lora_scaling"],
            "dropout": about["lora_dropout"],
            "LoRA in": f"`{targets}`" if isinstance(targets, str) else ", ".join(f"`{name}`" for name in targets),
        }
        options = about["lora_options"]
        rows |= {name: f"`{options[name]}`" for name, off in LORA_OPTIONS.items() if options.get(name, off) != off}
    rows |= {name: f"`{value}`" for name, value in about.get("methods", {}).items() if value}
    rows["trained values"] = f"{count:,} of {total:,} ({count / total:.2%})"
    beside = sorted({name.rpartition(".")[0] for name in tensors if ".lora_" not in name and "adapter_" not in name})
    few = beside if len(beside) <= 8 else [*beside[:8], f"… ({len(beside)} in all)"]
    rows["trained beside"] = ", ".join(f"`{name}`" for name in few) or None
    rows["base kept in"] = f"`{about['quantization']}`" if about.get("quantization") else None
    return rows


def _labels(model: AdaptableModel) -> list[tuple[str, str]]:
    names = model.config.id2label
    if not model.label_parameters() or not names or len(names) > _MANY_LABELS:
        return []
    return [("Labels", as_table({str(number): name for number, name in sorted(names.items())}))]
