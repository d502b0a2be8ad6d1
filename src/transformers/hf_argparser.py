"""Dataclasses as command lines: every field becomes a flag, every flag comes back as a field.

``HfArgumentParser((ModelArguments, TrainingArguments)).parse_args_into_dataclasses()`` gives one object per class.
The first word may also be a JSON file; flags that follow win over it. What people mistype is answered in one line that
names the nearest flag.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import sys
import types
from argparse import (
    SUPPRESS,
    Action,
    ArgumentDefaultsHelpFormatter,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
    _ArgumentGroup,
)
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from .utils import logging
from .utils.json_files import LARGEST, parse_json, read_bytes
from .utils.secrets import hide_tokens
from .utils.shapes import shown

__all__ = ["HfArgumentParser", "string_to_bool"]

logger = logging.get_logger(__name__)

_TRUE = frozenset({"yes", "true", "t", "y", "1"})
_FALSE = frozenset({"no", "false", "f", "n", "0"})


def string_to_bool(v: bool | str) -> bool:
    """Read a truth value as people type it.

    Args:
        v: ``yes/true/t/y/1`` or ``no/false/f/n/0`` in any case, or a bool, which is given back.

    Raises:
        ArgumentTypeError: If it is none of these.
    """
    if isinstance(v, bool):
        return v
    word = v.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ArgumentTypeError(f"{v!r} is not a truth value; write one of true, false, yes, no, 1, 0")


class _FlagHelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, and shows a default only where there is one to speak of."""

    def _get_help_string(self, action: Action) -> str | None:
        if action.required:
            return f"{action.help} (required)"
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class HfArgumentParser(ArgumentParser):
    """An ``ArgumentParser`` whose flags are the fields of dataclasses, one help group per class.

    Flags may be written with underscores or hyphens (``--learning_rate``, ``--learning-rate``); they are not
    abbreviated. A field's ``metadata`` may hold ``help``, ``choices`` and ``aliases`` (further flags). A class may
    list older names of its fields in ``_aliases``: they are flags too. A bool field that is true by default gets
    ``--no_<name>`` beside ``--<name>``.

    Args:
        dataclass_types: The dataclass, or several of them.
        **kwargs: What ``argparse.ArgumentParser`` takes.
    """

    dataclass_types: list[type]

    def __init__(self, dataclass_types: type | Iterable[type], **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _FlagHelpFormatter)
        kwargs.setdefault("usage", "%(prog)s --<flag> <value> ...   or   %(prog)s <flags>.json [--<flag> <value> ...]")
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)
        self.dataclass_types = [dataclass_types] if isinstance(dataclass_types, type) else list(dataclass_types)
        for dtype in self.dataclass_types:
            self._add_dataclass_arguments(dtype)

    def parse_args_into_dataclasses(
        self,
        args: Sequence[str] | None = None,
        return_remaining_strings: bool = False,
        look_for_args_file: bool = True,
        args_filename: str | None = None,
    ) -> tuple[Any, ...]:
        """Parse a command line into one object per dataclass.

        Args:
            args: The words of the command line; those of the process by default. Where the first ends in ``.json`` it
                names a file that holds flags; those that follow win over it.
            return_remaining_strings: Give unknown words back as a last list, instead of stopping.
            look_for_args_file: Read flags from ``<script>.args``, if it lies beside the script; the command line wins.
            args_filename: A file to read such flags from instead.

        Returns:
            The objects in the order of the classes; then a namespace, if arguments were added by ``add_argument``;
            then the unknown words, if asked for.

        Raises:
            SystemExit: With code 2 and one line on standard error, if a flag or value cannot be used.
        """
        words = list(sys.argv[1:] if args is None else args)
        if words and words[0].endswith(".json") and not return_remaining_strings:
            return self._parse_json_and_words(words[0], words[1:])
        words = self._words_of_args_file(look_for_args_file, args_filename) + words
        namespace, remaining = self.parse_known_args([self._with_underscores(word) for word in words])
        if remaining and not return_remaining_strings:
            self.error(self._describe_unknown_words(remaining))
        outputs: list[Any] = [self._build_from_namespace(dtype, namespace) for dtype in self.dataclass_types]
        if vars(namespace):
            outputs.append(namespace)
        if return_remaining_strings:
            outputs.append(remaining)
        return tuple(outputs)

    def parse_json_file(self, json_file: str | Path, allow_extra_keys: bool | None = None) -> tuple[Any, ...]:
        """Read a JSON object whose keys are the fields of all the classes together.

        Args:
            json_file: Path of the file.
            allow_extra_keys: See ``parse_dict``. A file that is a command line's only word is read with False.

        Returns:
            One object per dataclass.

        Raises:
            SystemExit: With code 2 and one line on standard error, if the file or something in it cannot be used.
        """
        values = self._read_json(json_file)
        try:
            return self.parse_dict(values, allow_extra_keys=allow_extra_keys)
        except ValueError as error:
            self.error(f"in '{json_file}': {error}")

    def parse_dict(self, args: Mapping[str, Any], allow_extra_keys: bool | None = None) -> tuple[Any, ...]:
        """Build the objects from a dict whose keys are the fields of all the classes together.

        Args:
            args: Field name to value; text is read like a flag's value where the field is a number or truth value.
            allow_extra_keys: What to do about keys that are no field of any class: False refuses them, True passes
                over them, None does so with a warning that names the nearest field. Those that start with an
                underscore are passed over (4.4.2 writes ``_n_gpu`` into its JSON).

        Returns:
            One object per dataclass.

        Raises:
            ValueError: If a key is unknown and refused, a required one is missing, or a value cannot be used.
        """
        known = [name for dtype in self.dataclass_types for name in _accepted_names(dtype)]
        unknown = [key for key in args if key not in known and not key.startswith("_")]
        if unknown and not allow_extra_keys:
            message = "; ".join(f"unknown key '{key}'{_did_you_mean(key, known)}" for key in unknown)
            if allow_extra_keys is not None:
                raise ValueError(f"{message}.")
            logger.warning("Passed over: %s.", message)
        return tuple(_build_from_dict(dtype, args) for dtype in self.dataclass_types)

    def error(self, message: str) -> NoReturn:
        """Stop with one line on standard error and exit code 2."""
        line = hide_tokens(" ".join(message.split()))
        self.exit(2, f"{self.prog}: error: {line}\n")

    def _read_json(self, json_file: str | Path) -> dict[str, Any]:
        """Read a file that holds flags, or stop with one line."""
        try:
            text = read_bytes(json_file, LARGEST).decode("utf-8-sig")
            values = parse_json(text, "the file")
        except (OSError, ValueError) as error:
            self.error(f"cannot read the arguments from '{json_file}': {error}")
        if not isinstance(values, dict):
            self.error(f"'{json_file}' must hold one JSON object of arguments, not a {type(values).__name__}.")
        return dict(values)

    def _parse_json_and_words(self, json_file: str, words: Sequence[str]) -> tuple[Any, ...]:
        """Read a file of flags; those of the command line win, under whatever name the file has them."""
        values, typed = self._read_json(json_file), self._given_flags(words)
        names = {key: name for dtype in self.dataclass_types for key, name in _accepted_names(dtype).items()}
        kept = {key: value for key, value in values.items() if names.get(key) not in typed}
        try:
            return self.parse_dict({**kept, **typed}, allow_extra_keys=False)
        except ValueError as error:
            self.error(f"in '{json_file}'{' and the flags after it' if typed else ''}: {error}")

    def _given_flags(self, words: Sequence[str]) -> dict[str, Any]:
        """Read words of a command line alone: only the fields that they give, none of which is required."""
        parser = HfArgumentParser(self.dataclass_types, prog=self.prog)
        for action in parser._actions:
            action.required, action.default = False, SUPPRESS
        namespace, remaining = parser.parse_known_args([self._with_underscores(word) for word in words])
        if remaining:
            self.error(self._describe_unknown_words(remaining))
        return vars(namespace)

    def _add_dataclass_arguments(self, dtype: type) -> None:
        doc = cleandoc(dtype.__doc__ or "")
        generated = doc.startswith(f"{dtype.__name__}(")  # what @dataclass writes where there is no docstring
        group = self.add_argument_group(dtype.__name__, None if generated else doc.split("\n\n")[0])
        hints = _type_hints(dtype)
        for field in _init_fields(dtype):
            _add_field(group, field, hints[field.name], _flag_aliases(dtype, field))

    def _with_underscores(self, word: str) -> str:
        """Turn ``--some-flag=x`` into ``--some_flag=x`` where only the latter is known."""
        flag, equals, value = word.partition("=")
        underscored = "--" + flag[2:].replace("-", "_")
        if flag.startswith("--") and flag not in self._option_string_actions:
            return underscored + equals + value if underscored in self._option_string_actions else word
        return word

    def _words_of_args_file(self, look: bool, filename: str | None) -> list[str]:
        if filename is None and not (look and sys.argv and sys.argv[0]):
            return []
        path = Path(filename) if filename else Path(sys.argv[0]).with_suffix(".args")
        if not path.is_file():
            if filename:
                self.error(f"the file of arguments '{path}' does not exist.")
            return []
        return shlex.split(path.read_text(encoding="utf-8"), comments=True)

    def _describe_unknown_words(self, words: list[str]) -> str:
        flags = [flag.lstrip("-") for flag in self._option_string_actions if flag.startswith("--")]
        parts = []
        for word in words:
            name = word.split("=")[0]
            if name.startswith("--"):
                parts.append(f"unknown flag {name}{_did_you_mean(name[2:].replace('-', '_'), flags, '--')}")
        if not parts:
            parts = [f"unexpected argument '{word}'" for word in words]
        return "; ".join(parts) + " (--help lists all)"

    def _build_from_namespace(self, dtype: type, namespace: Namespace) -> Any:
        names = [field.name for field in _init_fields(dtype)]
        values = {name: getattr(namespace, name) for name in names}
        for name in names:
            delattr(namespace, name)
        try:
            return dtype(**values)
        except ValueError as error:
            self.error(str(error))


def _init_fields(dtype: type) -> list[dataclasses.Field[Any]]:
    if not dataclasses.is_dataclass(dtype):
        raise TypeError(f"HfArgumentParser takes dataclasses; {dtype!r} is none. Is the @dataclass above it missing?")
    return [field for field in dataclasses.fields(dtype) if field.init]


def _type_hints(dtype: type) -> dict[str, Any]:
    try:
        return get_type_hints(dtype)
    except NameError as error:
        raise RuntimeError(
            f"The type hints of {dtype.__name__} cannot be resolved ({error}). Define it at the top of a module."
        ) from error


def _flag_aliases(dtype: type, field: dataclasses.Field[Any]) -> list[str]:
    """Give the further flags of a field: its metadata's, and its older names."""
    aliases = field.metadata.get("aliases", [])
    older: Mapping[str, str] = getattr(dtype, "_aliases", {})
    named = [aliases] if isinstance(aliases, str) else list(aliases)
    return named + [f"--{alias}" for alias, name in older.items() if name == field.name]


def _accepted_names(dtype: type) -> dict[str, str]:
    """Give the names under which a dict may hold a class's fields, each with the field's own."""
    own = {field.name: field.name for field in _init_fields(dtype)}
    flags = {flag: field.name for field in _init_fields(dtype) for flag in _flag_aliases(dtype, field)}
    return own | {flag.lstrip("-").replace("-", "_"): name for flag, name in flags.items()}


def _did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(prefix + match for match in dict.fromkeys(close))}?" if close else ""


def _add_field(group: _ArgumentGroup, field: dataclasses.Field[Any], hint: Any, aliases: list[str]) -> None:
    """Add the flag of one field to its class's group."""
    options: dict[str, Any] = {"help": field.metadata.get("help", field.name.replace("_", " "))}
    if field.metadata.get("choices") is not None:
        options["choices"] = list(field.metadata["choices"])
    options |= _value_options(hint, options.get("choices"))
    default = _default(field, hint)
    if default is dataclasses.MISSING:
        options["required"] = True
    else:
        options["default"] = default.value if isinstance(default, Enum) else default
    group.add_argument(f"--{field.name}", *aliases, dest=field.name, **options)
    if _bare(hint) is bool and default is True:
        negative = f"turn --{field.name} off"
        group.add_argument(
            f"--no_{field.name}", action=_StoreFalse, dest=field.name, default=SUPPRESS, nargs=0, help=negative
        )


def _default(field: dataclasses.Field[Any], hint: Any) -> Any:
    """Give a field's default; as in 4.4.2 a truth value that has none is off, or unknown where it may be None."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING and _bare(hint) is bool:
        return None if type(None) in get_args(hint) else False
    return field.default


class _StoreFalse(Action):
    """``--no_x``: stores False, and leaves the default of ``--x`` alone."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, False)


def _value_options(hint: Any, choices: list[Any] | None) -> dict[str, Any]:
    """Give argparse's ``type``, ``nargs`` and ``choices`` for a field's type."""
    kind = _bare(hint)
    if kind is bool:
        takes_text = str in get_args(hint)
        return {
            "type": _truth_or_text if takes_text else string_to_bool,
            "nargs": "?",
            "const": True,
            "metavar": "BOOL_OR_TEXT" if takes_text else "BOOL",
        }
    if get_origin(kind) in (list, tuple) or kind is list:
        inner = get_args(kind)
        return {**_value_options(inner[0] if inner else str, choices), "nargs": "+"}
    allowed = choices or _choices_of(kind)
    if allowed is not None:
        return {"type": _choice_reader(allowed), "choices": allowed}
    return {"type": _reader(kind), "metavar": getattr(kind, "__name__", "VALUE").upper()}


def _bare(hint: Any) -> Any:
    """Take ``None`` off a type, and the text off a union with text (``dict | str`` is a dict written as text)."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    members = [member for member in get_args(hint) if member is not type(None)]
    if len(members) > 1:
        others = [member for member in members if member is not str]
        members = [str] if len(others) > 1 else others
    return members[0]


def _truth_or_text(word: str) -> bool | str:
    """Read a truth value where the word is one, as for a token that may also be the stored one."""
    return string_to_bool(word) if word.strip().lower() in _TRUE | _FALSE else word


def _choices_of(kind: Any) -> list[Any] | None:
    if get_origin(kind) is Literal:
        return [value for value in get_args(kind) if value is not None]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    return None


def _choice_reader(allowed: Sequence[Any]) -> Callable[[str], Any]:
    """Turn a typed word into the choice that it spells; any other word is left for argparse to refuse."""
    spelled = {str(value): value for value in allowed}
    return lambda word: spelled.get(word, word)


def _reader(kind: Any) -> Callable[[str], Any]:
    if kind is dict or get_origin(kind) is dict:
        return _json_object
    return kind if kind in (int, float) else str


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text, shown(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{text!r} is not a JSON object; write for example '{{\"name\": 1}}'")
    return value


def _build_from_dict(dtype: type, args: Mapping[str, Any]) -> Any:
    hints, spelled = _type_hints(dtype), dict[str, str]()
    values: dict[str, Any] = {}
    for given, name in _accepted_names(dtype).items():
        if given in args and name in values:
            raise ValueError(f"'{spelled[name]}' and '{given}' are two names of one argument; give one of them.")
        if given in args:
            values[name], spelled[name] = _checked(given, args[given], hints[name]), given
    absent = {
        field.name: _default(field, hints[field.name]) for field in _init_fields(dtype) if field.name not in values
    }
    missing = [name for name, default in absent.items() if default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)} (needed by {dtype.__name__}).")
    return dtype(**absent, **values)


_EXPECTED: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str, Path), "a text"),
}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Read text where the field is no text, and refuse values of another kind than the field's."""
    kind = _bare(hint)
    alternatives = [member for member in get_args(hint) if member is not type(None)]
    if kind not in _EXPECTED or len(alternatives) > 1 or (value is None and type(None) in get_args(hint)):
        return value
    types_, described = _EXPECTED[kind]
    if isinstance(value, str) and kind is not str:
        try:
            return string_to_bool(value) if kind is bool else kind(value)
        except (ValueError, ArgumentTypeError) as error:
            raise ValueError(f"'{name}' is {hide_tokens(repr(value))}; {described} was expected.") from error
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, types_) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"'{name}' is {hide_tokens(repr(value))}; {described} was expected.")
    return value
