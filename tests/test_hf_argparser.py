"""Dataclasses as command lines: every kind of field, other spellings, files, and what people mistype."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers.hf_argparser import HfArgumentParser, string_to_bool
from transformers.training_args import TrainingArguments


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Plain:
    """What the first group is for.

    A second paragraph that the help leaves out.
    """

    name: str
    count: int = 3
    rate: float = 0.5
    names: list[str] = field(default_factory=lambda: ["a"])
    numbers: Optional[list[int]] = None  # noqa: UP045 - old spellings must work too
    colour: Colour = Colour.RED
    mode: Literal["slow", "fast"] = "slow"
    level: Optional[Literal[1, 2]] = None  # noqa: UP045
    extra: dict | str | None = None


@dataclass
class Switches:
    off: bool = False
    on: bool = True
    unknown: bool | None = None
    maximum_length: int = field(default=128, metadata={"help": "Longest text.", "aliases": ["--max_len"]})


def parse(*words: str) -> tuple[Plain, Switches]:
    return HfArgumentParser((Plain, Switches)).parse_args_into_dataclasses(list(words), look_for_args_file=False)


def test_defaults_are_the_dataclass_s() -> None:
    plain, switches = parse("--name", "x")
    assert plain == Plain(name="x", colour="red")  # an enum's value: the class itself makes the member, if it wants
    assert switches == Switches()


def test_every_kind_of_field_is_read() -> None:
    words = ["--name", "x", "--count", "4", "--rate", "1e-3", "--names", "b", "c", "--numbers", "1", "2"]
    words += ["--colour", "blue", "--mode", "fast", "--level", "2"]
    plain, _ = parse(*words, "--extra", '{"k": [1, 2]}')
    expected = Plain("x", 4, 1e-3, ["b", "c"], [1, 2], "blue", "fast", 2, {"k": [1, 2]})  # type: ignore[arg-type]
    assert plain == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Switches()),
        (["--off"], Switches(off=True)),
        (["--off", "false"], Switches(off=False)),
        (["--no_on"], Switches(on=False)),
        (["--no-on"], Switches(on=False)),
        (["--on", "no"], Switches(on=False)),
        (["--unknown"], Switches(unknown=True)),
        (["--unknown", "0"], Switches(unknown=False)),
        (["--maximum-length=7"], Switches(maximum_length=7)),
        (["--max_len", "7"], Switches(maximum_length=7)),
        (["--max-len", "7"], Switches(maximum_length=7)),
    ],
)
def test_switches_and_spellings(words: list[str], expected: Switches) -> None:
    assert parse("--name", "x", *words)[1] == expected


@given(st.sampled_from(["yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"]), st.randoms())
def test_truth_values_are_read_in_any_case(word: str, random: object) -> None:
    cased = "".join(random.choice([c.lower(), c.upper()]) for c in word)  # type: ignore[attr-defined]
    assert string_to_bool(cased) is (word in ("yes", "true", "t", "y", "1"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--name", "x", "--coutn", "3"], ["--coutn", "--count"]),
        (["--name", "x", "--max-length", "3"], ["--max-length", "--maximum_length"]),
        (["--name", "x", "--count", "many"], ["--count", "many"]),
        (["--name", "x", "--colour", "green"], ["--colour", "green", "red", "blue"]),
        (["--name", "x", "--off", "perhaps"], ["--off", "perhaps", "truth value"]),
        (["--name", "x", "--extra", "{"], ["--extra", "JSON"]),
        (["--name", "x", "stray"], ["stray"]),
        (["--name", "x", "--coun", "3"], ["--coun", "--count"]),  # no silent abbreviation
        ([], ["--name"]),
    ],
)
def test_what_is_mistyped_is_one_line_and_exit_code_2(
    words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*words)
    message = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message.count("\n") == 1
    assert all(part in message for part in expected), message


def test_an_invalid_combination_is_one_line_too(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        HfArgumentParser(TrainingArguments).parse_args_into_dataclasses(
            ["--output_dir", str(tmp_path), "--learning_rate", "-1"]
        )
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "learning_rate is -1.0" in message
    assert message.count("\n") == 1


def test_remaining_words_and_own_arguments_come_back() -> None:
    parser = HfArgumentParser(Switches)
    parser.add_argument("--mine", type=int, default=1)
    switches, namespace, rest = parser.parse_args_into_dataclasses(
        ["--off", "--mine", "2", "--theirs", "3"], return_remaining_strings=True
    )
    assert switches == Switches(off=True)
    assert namespace.mine == 2
    assert rest == ["--theirs", "3"]


def test_a_json_file_is_the_only_argument(tmp_path: object) -> None:
    path = f"{tmp_path}/flags.json"
    with open(path, "w") as file:
        json.dump({"name": "x", "rate": "2e-5", "names": ["q"], "off": "yes", "on": False}, file)
    plain, switches = parse(path)
    assert (plain.name, plain.rate, plain.names) == ("x", 2e-5, ["q"])
    assert (switches.off, switches.on) == (True, False)
    assert HfArgumentParser((Plain, Switches)).parse_json_file(path) == (plain, switches)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"name": "x", "coutn": 1}', ["coutn", "count"]),
        ('{"count": 1}', ["name", "missing"]),
        ('{"name": "x", "count": "many"}', ["count", "many"]),
        ("[1]", ["list"]),
        ("{", ["flags.json"]),
    ],
)
def test_a_json_file_is_checked_like_flags(
    content: str, expected: list[str], tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/flags.json"
    with open(path, "w") as file:
        file.write(content)
    with pytest.raises(SystemExit) as stopped:
        parse(path)
    message = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message.count("\n") == 1
    assert all(part in message for part in expected), message


def test_a_missing_json_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("nowhere/flags.json")
    assert stopped.value.code == 2
    assert "nowhere/flags.json" in capsys.readouterr().err


def test_a_dict_raises_instead_of_exiting() -> None:
    parser = HfArgumentParser((Plain, Switches))
    assert parser.parse_dict({"name": "x", "count": 9})[0].count == 9
    with pytest.raises(ValueError, match="unknown key 'coutn'; did you mean count"):
        parser.parse_dict({"name": "x", "coutn": 9}, allow_extra_keys=False)
    with pytest.raises(ValueError, match="'count' is 'many'"):
        parser.parse_dict({"name": "x", "count": "many"})


def test_unknown_keys_that_a_script_passes_are_named_and_passed_over(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = HfArgumentParser((Plain, Switches))
    assert parser.parse_dict({"name": "x", "coutn": 9})[0].count == 3  # as in 4.4.2
    assert "unknown key 'coutn'; did you mean count?" in capsys.readouterr().err
    assert parser.parse_dict({"name": "x", "coutn": 9}, allow_extra_keys=True)[0].count == 3
    assert parser.parse_dict({"name": "x", "_count": 9}, allow_extra_keys=False)[0].count == 3
    assert capsys.readouterr().err == ""
    path = f"{tmp_path}/flags.json"
    with open(path, "w") as file:
        json.dump({"name": "x", "coutn": 9}, file)
    assert parser.parse_json_file(path)[0].count == 3
    assert "coutn" in capsys.readouterr().err


def test_an_args_file_gives_flags_that_the_command_line_overrides(tmp_path: object) -> None:
    path = f"{tmp_path}/my.args"
    with open(path, "w") as file:
        file.write("--name 'two words' --count 5  # a comment\n--off\n")
    parser = HfArgumentParser((Plain, Switches))
    plain, switches = parser.parse_args_into_dataclasses(["--count", "6"], args_filename=path)
    assert (plain.name, plain.count, switches.off) == ("two words", 6, True)


def test_help_is_grouped_by_class_and_shows_defaults() -> None:
    text = HfArgumentParser((Plain, Switches), prog="p").format_help()
    assert text.index("Plain:") < text.index("What the first group is for.") < text.index("Switches:")
    assert "A second paragraph" not in text
    assert "Switches(" not in text  # not the signature that @dataclass puts where there is no docstring
    assert "Longest text. (default: 128)" in " ".join(text.split())
    assert "(required)" in text


def test_older_and_newer_names_are_both_flags(tmp_path: object) -> None:
    for flag in ("--evaluation_strategy", "--eval_strategy", "--eval-strategy"):
        parser = HfArgumentParser(TrainingArguments)
        (args,) = parser.parse_args_into_dataclasses(["--output_dir", str(tmp_path), flag, "epoch", "--local-rank=0"])
        assert args.eval_strategy == args.evaluation_strategy == "epoch"
    (args,) = parser.parse_dict({"output_dir": str(tmp_path), "eval_strategy": "epoch"})
    assert args.evaluation_strategy == "epoch"


def test_not_a_dataclass_is_refused() -> None:
    with pytest.raises(TypeError, match="dataclass"):
        HfArgumentParser(int)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": [1]}, "'count' is [1]; a whole number was expected"),
        ({"count": 2.5}, "'count' is 2.5; a whole number was expected"),
        ({"count": True}, "'count' is True; a whole number was expected"),
        ({"count": None}, "'count' is None; a whole number was expected"),
        ({"rate": [0.5]}, "'rate' is [0.5]; a number was expected"),
        ({"rate": "fast"}, "'rate' is 'fast'; a number was expected"),
        ({"off": 7}, "'off' is 7; true or false was expected"),
        ({"name": 5}, "'name' is 5; a text was expected"),
        ({"max_len": 3, "maximum_length": 4}, "are two names of one argument"),
    ],
)
def test_values_of_another_kind_in_a_dict(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        HfArgumentParser((Plain, Switches)).parse_dict({"name": "x", **values})


def test_a_dict_may_hold_what_json_makes_of_the_kinds() -> None:
    values = {"name": "x", "count": 2e3, "rate": 1, "unknown": None, "max_len": 7, "numbers": None}
    plain, switches = HfArgumentParser((Plain, Switches)).parse_dict(values)
    assert (plain.count, plain.rate, plain.numbers) == (2000, 1, None)
    assert type(plain.count) is int
    assert switches == Switches(maximum_length=7)


def test_flags_after_a_file_of_flags_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"name": "x", "count": 9, "max_len": 5, "off": True}), encoding="utf-8-sig")
    parser = HfArgumentParser((Plain, Switches))
    alone = parser.parse_args_into_dataclasses([str(path)])
    assert alone == (Plain("x", count=9), Switches(off=True, maximum_length=5))
    plain, switches = parser.parse_args_into_dataclasses([str(path), "--count", "2", "--off", "no"])
    assert plain == Plain("x", count=2)
    assert switches == Switches(off=False, maximum_length=5), "what is not typed stays the file's"
    _, switches = parser.parse_args_into_dataclasses([str(path), "--maximum_length=7"])
    assert switches.maximum_length == 7, "under the file's other name for it"
    assert parser.parse_args_into_dataclasses([str(path), "--name", "y"])[0].name == "y"
    for words, said in ((["--coutn", "1"], "did you mean --count?"), (["--count", "many"], "--count")):
        with pytest.raises(SystemExit) as stop:
            parser.parse_args_into_dataclasses([str(path), *words])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


def test_a_required_flag_may_be_typed_after_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"count": 9}))
    parser = HfArgumentParser((Plain, Switches))
    assert parser.parse_args_into_dataclasses([str(path), "--name", "y"])[0] == Plain("y", count=9)
    with pytest.raises(SystemExit):
        parser.parse_args_into_dataclasses([str(path), "--count", "3"])
    assert "missing: name" in capsys.readouterr().err


@dataclass
class WithoutDefaults:
    on: bool
    maybe: bool | None


def test_a_truth_value_without_default_may_be_left_out() -> None:
    parser = HfArgumentParser(WithoutDefaults)
    assert parser.parse_args_into_dataclasses([]) == (WithoutDefaults(on=False, maybe=None),)
    assert parser.parse_args_into_dataclasses(["--on"]) == (WithoutDefaults(on=True, maybe=None),)
    assert parser.parse_args_into_dataclasses(["--maybe", "no"]) == (WithoutDefaults(on=False, maybe=False),)
    assert parser.parse_dict({}) == (WithoutDefaults(on=False, maybe=None),)


TOKEN = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"


@dataclass
class WithToken:
    use_auth_token: bool | str = False
    switch: bool = False
    count: int = 1


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        (["--use_auth_token"], True),
        (["--use_auth_token", "no"], False),
        (["--use_auth_token", TOKEN], TOKEN),
    ],
)
def test_a_token_is_a_text_or_the_stored_one(words: list[str], value: bool | str) -> None:
    assert HfArgumentParser(WithToken).parse_args_into_dataclasses(words)[0].use_auth_token == value
    assert HfArgumentParser(WithToken).parse_dict({"use_auth_token": value})[0].use_auth_token == value


@pytest.mark.parametrize(
    "words",
    [["--switch", TOKEN], ["--count", TOKEN], [TOKEN], ["--use_auth_tokens", TOKEN], [f"--use_auth_tokens={TOKEN}"]],
)
def test_no_message_holds_a_token(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        HfArgumentParser(WithToken).parse_args_into_dataclasses(words)
    (tmp_path / "flags.json").write_text(json.dumps({"switch": TOKEN}))
    with pytest.raises(SystemExit):
        HfArgumentParser(WithToken).parse_args_into_dataclasses([str(tmp_path / "flags.json")])
    with pytest.raises(ValueError, match=r"'count' is 'hf_…'; a whole number was expected"):
        HfArgumentParser(WithToken).parse_dict({"count": TOKEN})
    printed = capsys.readouterr()
    assert TOKEN not in printed.err + printed.out
    assert "error:" in printed.err
