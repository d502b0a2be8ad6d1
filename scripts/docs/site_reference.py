"""The pages on the public names, made of their docstrings and signatures as Python shows them.

What is public is imported, not read: the ``forward`` of a model is made at run time, and names load when they are
asked for, which a reader of source text would not see.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import transformers
from site_docstrings import described, first_line, gaps, prose
from site_flags import shown_default

__all__ = ["PAGES", "find_gaps", "reference_pages"]

_PACKAGE = "transformers"
_LINE = 88  # of a signature


@dataclass(frozen=True)
class Shown:
    """A name on a page.

    Attributes:
        name: The public name, or a module's and a name in it (``module:name``).
        only: The members that are shown; all of its own where None.
        without: Classes whose members are shown elsewhere.
    """

    name: str
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()


def _plain(*names: str, only: tuple[str, ...] | None = None, without: tuple[str, ...] = ()) -> tuple[Shown, ...]:
    return tuple(Shown(name, only, without) for name in names)


_CONFIG, _MODEL = "configuration_utils:PretrainedConfig", "modeling_utils:PreTrainedModel"
_ADAPTERS = "adapters.methods:AdapterMethods"
_TOKENIZER = "tokenization_utils_base:PreTrainedTokenizerBase"
_TASKS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice", "MaskedLM")
_FAST = "tokenization_utils_fast:PreTrainedTokenizerFast"
_MADE = ("from_pretrained", "from_config")
_OF_MODELS = (
    *(*_MADE, "save_pretrained", "push_to_hub", "base_model", "device", "dtype", "num_parameters", "prune_heads"),
    *("gradient_checkpointing_enable", "gradient_checkpointing_disable", "enable_input_require_grads"),
    *("get_input_embeddings", "set_input_embeddings", "get_output_embeddings", "resize_token_embeddings"),
    *("tie_weights", "init_weights", "is_quantized", "hash_base", "use_static_shapes", "floating_point_ops"),
)


_LOGGING = (
    *("get_logger", "get_verbosity", "set_verbosity", "set_verbosity_error", "set_verbosity_warning"),
    *("set_verbosity_info", "set_verbosity_debug", "enable_default_handler", "disable_default_handler"),
    "enable_explicit_format",
)


def _models(family: str, *more: str) -> tuple[Shown, ...]:
    heads = _plain(*(f"{family}For{task}" for task in (*_TASKS, *more)), only=("forward",))
    return (Shown(f"{family}Model", ("forward",)), *heads, Shown(f"{family}PreTrainedModel", ()))


PAGES: dict[str, tuple[str, str, tuple[Shown, ...]]] = {
    "configuration": (
        "Configurations",
        "Sizes of an encoder, and the fields that choose what is trained.",
        (
            *_plain("AutoConfig", "PretrainedConfig"),
            *_plain("RobertaConfig", "DebertaV2Config", without=(_CONFIG,)),
            Shown("BitsAndBytesConfig"),
        ),
    ),
    "auto": (
        "Auto classes",
        "The right class for a folder or a name on the hub; the saved configuration says which.",
        (
            *_plain("AutoModel", *(f"AutoModelFor{task}" for task in (*_TASKS, "CausalLM")), only=_MADE),
            Shown("AutoTokenizer"),
        ),
    ),
    "model": (
        "What every model offers",
        "Loading, saving and what else all models have; the methods for adapters have [their own page](adapters.md).",
        (Shown("PreTrainedModel", _OF_MODELS),),
    ),
    "adapters": (
        "Adapters",
        "The methods by which every model loads, makes, switches, mixes, merges and saves adapters, and PEFT's names.",
        (
            Shown(_ADAPTERS, without=("adapters.interface:AdaptableModel",)),
            *_plain("LoraConfig", "TaskType", "get_peft_model"),
        ),
    ),
    "roberta": ("RoBERTa", "The encoder and its heads.", _models("Roberta", "CausalLM")),
    "deberta_v2": ("DeBERTa V2 and V3", "The encoder and its heads.", _models("DebertaV2")),
    "outputs": (
        "Outputs",
        "What a model's `forward` returns: a tuple whose places have names.",
        _plain(
            *("BaseModelOutput", "BaseModelOutputWithPooling", "SequenceClassifierOutput", "TokenClassifierOutput"),
            *("QuestionAnsweringModelOutput", "MultipleChoiceModelOutput", "MaskedLMOutput", "CausalLMOutputWithPast"),
            "CausalLMOutputWithCrossAttentions",
            only=(),
        ),
    ),
    "tokenizers": (
        "Tokenizers",
        "From texts to ids and back.",
        (
            Shown("PreTrainedTokenizerBase"),
            Shown("PreTrainedTokenizerFast", without=(_TOKENIZER,)),
            *_plain("RobertaTokenizerFast", "DebertaV2TokenizerFast", "BertTokenizerFast", without=(_FAST,)),
            *_plain("BatchEncoding", "CharSpan", "TokenSpan", "AddedToken", "PaddingStrategy", "TruncationStrategy"),
            Shown("TensorType"),
        ),
    ),
    "collators": (
        "Collators",
        "From examples to a batch.",
        _plain(
            *("default_data_collator", "DataCollatorWithPadding", "DataCollatorForTokenClassification"),
            *("DataCollatorForMultipleChoice", "DataCollatorForLanguageModeling", "DataCollatorForWholeWordMask"),
        ),
    ),
    "trainer": (
        "Trainer",
        "The training loop. Its settings are [`TrainingArguments`](training_arguments.md); what it does where it "
        "could be doubted is [explained](../training.md).",
        _plain("Trainer", "EvalPrediction"),
    ),
    "training_arguments": (
        "TrainingArguments",
        "Each is a flag of the scripts too.",
        _plain("TrainingArguments", "IntervalStrategy", "EvaluationStrategy", "SchedulerType"),
    ),
    "callbacks": (
        "Callbacks",
        "What may act at each point of a training.",
        (
            *_plain("TrainerCallback", "TrainerControl", "TrainerState"),
            *_plain("EarlyStoppingCallback", "DefaultFlowCallback", "PrinterCallback", "ProgressCallback", only=()),
        ),
    ),
    "optimization": (
        "Optimizers and schedules",
        "What moves the parameters, and how fast.",
        _plain(
            *("AdamW", "Adafactor", "get_scheduler", "get_constant_schedule", "get_constant_schedule_with_warmup"),
            *("get_linear_schedule_with_warmup", "get_cosine_schedule_with_warmup"),
            *("get_cosine_with_hard_restarts_schedule_with_warmup", "get_polynomial_decay_schedule_with_warmup"),
            only=(),
        ),
    ),
    "pipelines": (
        "Pipelines",
        "From texts to answers in one call; [Pipelines](../pipelines.md) says what each task answers.",
        (
            *_plain("pipeline", "Pipeline"),
            *_plain("TextClassificationPipeline", "TokenClassificationPipeline", "QuestionAnsweringPipeline", only=()),
            *_plain("MultipleChoicePipeline", "FillMaskPipeline", "FeatureExtractionPipeline", only=()),
        ),
    ),
    "utilities": (
        "Utilities",
        "Command lines out of dataclasses, seeds, and what is logged.",
        (
            *_plain("HfArgumentParser", "set_seed", "torch_distributed_zero_first"),
            *_plain(*(f"utils.logging:{name}" for name in _LOGGING)),
        ),
    ),
    "export": (
        "Export",
        "Models as ONNX files, from Python; [Export](../export.md) is the command line.",
        _plain(
            "exporting.onnx_folder:write_folder", "exporting.onnx:write_onnx", "exporting.static_model:StaticModel"
        ),
    ),
}
"""Each page: its title, a sentence, and what is on it."""

_OLDER = "Names for older scripts"


def reference_pages() -> Iterator[tuple[str, str]]:
    """Give the pages on the public names, each as its file's name and its Markdown.

    Raises:
        ValueError: If a page names what does not exist.
    """
    places = {_short(each.name): page for page, (_, _, shown) in PAGES.items() for each in shown}
    for page, (title, sentence, shown) in PAGES.items():
        parts = [f"# {title}", sentence]
        for each in shown:
            parts += _section(each)
        yield f"{page}.md", _linked("\n\n".join(parts), places) + "\n"
    yield "older_names.md", _older_names(set(places))
    yield "index.md", _index(places)


def find_gaps() -> list[str]:
    """List the arguments of what is on the pages that no docstring explains."""
    found = []
    for _, _, shown in PAGES.values():
        for each in shown:
            thing = _find(each.name)
            found += gaps(thing, _short(each.name)) if _is_ours(thing) and each.name != _ADAPTERS else []
            for name, member in _members(thing, each):
                found += gaps(member, f"{_short(each.name)}.{name}")
    return found


def _index(places: dict[str, str]) -> str:
    rows = [
        f"| [`{name}`]({page}.md#{name}) | {first_line(_find_short(name))} |" for name, page in sorted(places.items())
    ]
    head = (
        "# Reference",
        "All public names of `import transformers`, from their docstrings. The [scripts' flags](scripts.md), the "
        "[command line](command_line.md) and the [HTTP API](http_api.md) have pages too, and so have "
        "[names that only older scripts need](older_names.md).",
    )
    return "\n\n".join((*head, "\n".join(("| name | what it is |", "| --- | --- |", *rows)))) + "\n"


def _linked(text: str, places: dict[str, str]) -> str:
    """Make links of the public names that docstrings mention."""

    def link(found: re.Match[str]) -> str:
        name, _, member = found[1].removeprefix(f"{_PACKAGE}.").partition(".")
        if name not in places:
            return found[0]
        shown = next(each for each in PAGES[places[name]][2] if _short(each.name) == name)
        members = dict(_members(_find(shown.name), shown))
        return f"[{found[0]}]({places[name]}.md#{name}{f'.{member}' if member in members else ''})"

    pieces = re.split(r"(```.*?```|^#.*?$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        piece if number % 2 else re.sub(r"(?<![`\[])`([A-Za-z][\w.]+)`(?![`\]])", link, piece)
        for number, piece in enumerate(pieces)
    )


def _older_names(shown: set[str]) -> str:
    rest = [name for name in transformers.__all__ if name not in shown and name not in ("__version__", "logging")]
    unknown = [name for name in rest if not _is_older(name, shown)]
    if unknown:
        raise ValueError(f"The public names {', '.join(unknown)} are on no page of the reference; add them to PAGES.")
    rows = [f"| `{name}` | {first_line(getattr(transformers, name))} |" for name in sorted(rest)]
    sentence = (
        "These are there because scripts written for 4.4.2, accelerate or PEFT import them. Tokenizers without `Fast` "
        "in their name are the same as those with it; [From 4.4.2](../from_4.4.2.md) says what else differs."
    )
    return "\n\n".join((f"# {_OLDER}", sentence, "\n".join(("| name | what it is |", "| --- | --- |", *rows)))) + "\n"


def _is_older(name: str, shown: set[str]) -> bool:
    """Say whether a name is one that only older scripts, accelerate or PEFT look for."""
    room = getattr(getattr(transformers, name), "__module__", "")
    is_value = not inspect.isroutine(getattr(transformers, name)) and not inspect.isclass(getattr(transformers, name))
    rooms = (f"{_PACKAGE}.compatibility", f"{_PACKAGE}.file_utils")
    parents = ("PreTrainedTokenizer", "SpecialTokensMixin")
    return is_value or room.startswith(rooms) or name.startswith("is_") or f"{name}Fast" in shown or name in parents


def _find(name: str) -> Any:
    module, _, inner = name.rpartition(":")
    where = importlib.import_module(f"{_PACKAGE}.{module}") if module else transformers
    try:
        return getattr(where, inner)
    except AttributeError as error:
        raise ValueError(f"The page of the reference that shows {name} shows what does not exist: {error}") from error


def _find_short(name: str) -> Any:
    full = next(each.name for _, _, shown in PAGES.values() for each in shown if _short(each.name) == name)
    return _find(full)


def _short(name: str) -> str:
    return "AdapterMethods" if name == _ADAPTERS else name.rpartition(":")[2]


def _section(each: Shown) -> list[str]:
    """Make what a page says of one name: heading, signature, docstring, members."""
    thing, name = _find(each.name), _short(each.name)
    path = _PACKAGE if ":" not in each.name else f"{_PACKAGE}.{each.name.partition(':')[0]}"
    parts = [f"## {name} {{ #{name} }}"]
    if each.name == _ADAPTERS:
        parts += [f"*Methods of every model*, from `{thing.__module__}`.", *described(thing)]
    elif inspect.isclass(thing) and issubclass(thing, Enum):
        values = ", ".join(f"`{member.name} = {member.value!r}`" for member in thing)
        return [*parts, *prose(thing), f"Values: {values}."]
    elif is_dataclass(thing) and any("help" in field.metadata for field in fields(thing)):
        parts += [
            f"```python\nclass {path}.{name}({fields(thing)[0].name}, ...)\n```",
            *described(thing),
            _flags(thing),
        ]
    else:
        parts += [_signature(thing, f"{path}.{name}", "class " if inspect.isclass(thing) else ""), *described(thing)]
    for member, value in _members(thing, each):
        parts += [f"### {member} {{ #{name}.{member} }}"]
        if isinstance(value, property):
            parts += ["*property*"]
        else:
            parts += [_signature(value, member, "")]
        parts += described(value)
    return parts


def _members(thing: Any, each: Shown) -> Iterator[tuple[str, Any]]:
    """Give the public methods and properties of a class that its page shows, in the order of their names."""
    if not inspect.isclass(thing) or issubclass(thing, Enum):
        return
    elsewhere = {parent for name in each.without for parent in _find(name).__mro__}
    for name in sorted(dir(thing)) if each.only is None else each.only:
        owner = next((parent for parent in thing.__mro__ if name in vars(parent)), None)
        if owner is None or name.startswith("_") or owner in elsewhere or not _is_ours(owner):
            continue
        value = inspect.getattr_static(thing, name)
        if isinstance(value, property) and value.fget is not None and inspect.getdoc(value):
            yield name, value
        elif inspect.isroutine(getattr(thing, name)) and inspect.getdoc(getattr(thing, name)):
            yield name, getattr(thing, name)


def _is_ours(owner: Any) -> bool:
    return owner.__module__.partition(".")[0] == _PACKAGE


def _flags(thing: Any) -> str:
    rows = [
        f"| `{field.name}` | {shown_default(field)} | {field.metadata.get('help', '')} |".replace("%%", "%")
        for field in fields(thing)
    ]
    return "\n".join(("| argument | default | what it does |", "| --- | --- | --- |", *rows))


def _value(value: Any) -> str:
    return repr(value.value) if isinstance(value, Enum) else repr(value)


def _signature(thing: Any, name: str, prefix: str) -> str:
    """Write a signature as code; types stand in the table of arguments."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except ValueError:  # compiled code may have none
        return f"```python\n{prefix}{name}\n```"
    words, keyword_only = [], False
    for parameter in parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            words += ["*"]
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        keyword_only = keyword_only or star == "*"
        default = "" if parameter.default is parameter.empty else f"={_value(parameter.default)}"
        words += [f"{star}{parameter.name}{default}"]
    line = f"{prefix}{name}({', '.join(words)})"
    if len(line) > _LINE:
        line = f"{prefix}{name}(\n" + "".join(f"    {word},\n" for word in words) + ")"
    return f"```python\n{line}\n```"
