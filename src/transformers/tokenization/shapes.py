"""What the files of a tokenizer hold."""

from __future__ import annotations

from ..utils.shapes import Anything, Flag, ListOf, MapOf, Null, OneOf, Real, Record, Text, TupleOf, Whole, optional

__all__ = [
    "ADDED_TOKENS",
    "LARGEST_SETTINGS",
    "LARGEST_VOCABULARY",
    "MERGED",
    "SPECIAL_TOKENS",
    "TOKENIZER_CONFIG",
    "TOKENIZER_JSON",
    "VOCABULARY",
]

LARGEST_SETTINGS = 16 * 2**20
LARGEST_VOCABULARY = 64 * 2**20
"""Largest sizes in bytes: of files of settings, and of those that hold a vocabulary."""

_ID = Whole(0, 2**31 - 1)
_FLAGS = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), Flag())
_TOKEN_WITH_FLAGS = Record({"content": Text(), **_FLAGS}, required=("content",))
_TOKEN = OneOf((Text(), _TOKEN_WITH_FLAGS))
_ROLES = {f"{role}_token": optional(_TOKEN) for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
_EXTRA = OneOf((Null(), ListOf(_TOKEN), MapOf(_TOKEN)))
_SPECIAL = {**_ROLES, "additional_special_tokens": _EXTRA, "extra_special_tokens": _EXTRA}
_LENGTH = optional(Real(least=0))  # 1e30 stands for no limit

SPECIAL_TOKENS = Record(_SPECIAL)
"""``special_tokens_map.json``: a token, or a list of them, by role."""

ADDED_TOKENS = MapOf(_ID)
"""``added_tokens.json``: token to id."""

TOKENIZER_CONFIG = Record(
    {
        **_SPECIAL,
        "added_tokens_decoder": optional(MapOf(_TOKEN_WITH_FLAGS, numbered=True)),
        "add_prefix_space": optional(Flag()),
        "clean_up_tokenization_spaces": optional(Flag()),
        "do_lower_case": optional(Flag()),
        "errors": Text(),
        "max_len": _LENGTH,
        "model_input_names": optional(ListOf(Text(), least=1)),
        "model_max_length": _LENGTH,
        "name_or_path": optional(Text()),
        "padding_side": optional(Text(("right", "left"))),
        "split_by_punct": optional(Flag()),
        "split_special_tokens": optional(Flag()),
        "strip_accents": optional(Flag()),
        "tokenize_chinese_chars": optional(Flag()),
        "tokenizer_class": optional(Text()),
        "trim_offsets": optional(Flag()),
        "truncation_side": optional(Text(("right", "left"))),
    }
)
"""``tokenizer_config.json``: the settings; those of other programs are kept as they are."""

VOCABULARY = MapOf(_ID)
"""``vocab.json``: token to id."""

MERGED = OneOf((Text(), ListOf(Text(), least=2, most=2)))
"""A merge of two tokens in ``tokenizer.json``, as one text or as a pair."""

_STEP = optional(Record({"type": Text()}, required=("type",)))
_MODEL = Record(
    {
        "type": Text(("BPE", "WordPiece", "WordLevel", "Unigram")),
        "vocab": OneOf((VOCABULARY, ListOf(TupleOf((Text(), Real()))))),
        "merges": ListOf(MERGED),
        "unk_token": optional(Text()),
        "unk_id": optional(_ID),
        "dropout": optional(Real(0, 1)),
        "continuing_subword_prefix": optional(Text()),
        "end_of_word_suffix": optional(Text()),
        "max_input_chars_per_word": Whole(0),
        "fuse_unk": Flag(),
        "byte_fallback": Flag(),
        "ignore_merges": Flag(),
    },
    required=("vocab",),
)

TOKENIZER_JSON = Record(
    {
        "version": Text(),
        "truncation": Anything(),
        "padding": Anything(),
        "added_tokens": ListOf(Record({"id": _ID, "content": Text(), **_FLAGS}, required=("id", "content"))),
        "normalizer": _STEP,
        "pre_tokenizer": _STEP,
        "post_processor": _STEP,
        "decoder": _STEP,
        "model": _MODEL,
    },
    required=("model",),
)
"""``tokenizer.json``: the pipeline; the `tokenizers` library reads the steps' own fields."""
