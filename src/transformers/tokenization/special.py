"""The special tokens of a tokenizer: the role each plays, its text and its id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from tokenizers import AddedToken

__all__ = ["ROLES", "SpecialTokensMixin", "as_added_token", "token_list"]

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# 4.4.2 and 5.x call the list of tokens without a role differently; files of both are read.
_EXTRA_NAMES = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def as_added_token(value: str | AddedToken | Mapping[str, Any], **defaults: bool) -> AddedToken:
    """Read a special token as configuration files and callers write it.

    Args:
        value: The text, a ready ``AddedToken``, or a mapping with ``content`` and flags such as ``lstrip``.
        **defaults: Flags to use where the value is a plain text.

    Returns:
        The token, marked as special.

    Raises:
        TypeError: If the value is something else.
    """
    if isinstance(value, AddedToken):
        return AddedToken(value.content, special=True, **{flag: getattr(value, flag) for flag in _FLAGS})
    if isinstance(value, str):
        return AddedToken(value, special=True, **{"normalized": False, **defaults})
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        flags = {flag: bool(value.get(flag, False)) for flag in _FLAGS}
        return AddedToken(value["content"], special=True, **flags)
    raise TypeError(f"A special token is a text or an AddedToken; {value!r} is a {type(value).__name__}.")


def token_list(values: Any, name: str = "additional_special_tokens") -> list[Any]:
    """Give the tokens of a list.

    Args:
        values: The list.
        name: What it is called in an error.

    Raises:
        ValueError: If it is no list, such as a single text, which would be taken letter by letter.
    """
    if isinstance(values, str | AddedToken | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is a list of tokens, and {values!r} is none; put a single token into a list.")
    return list(values)


class _TokenOfRole:
    """The attribute ``pad_token`` and its like: the token's text, or None if the tokenizer has no such token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, tokenizer: SpecialTokensMixin, owner: type) -> str | None:
        if tokenizer is None:
            return self
        token = tokenizer._roles.get(self.role)
        return None if token is None else token.content

    def __set__(self, tokenizer: SpecialTokensMixin, value: str | AddedToken | None) -> None:
        tokenizer._roles[self.role] = None if value is None else as_added_token(value)


class _IdOfRole:
    """The attribute ``pad_token_id`` and its like: the token's id, or None if the tokenizer has no such token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name.removesuffix("_id")

    def __get__(self, tokenizer: SpecialTokensMixin, owner: type) -> int | None:
        if tokenizer is None:
            return self
        token = tokenizer._roles.get(self.role)
        return None if token is None else tokenizer._token_to_id(token.content)

    def __set__(self, tokenizer: SpecialTokensMixin, value: int | None) -> None:
        tokenizer._roles[self.role] = None if value is None else as_added_token(tokenizer._id_to_token(value))


class SpecialTokensMixin(ABC):
    """Special tokens by role (``pad_token``, ``pad_token_id``, …) and the additional ones without a role.

    Setting ``tokenizer.pad_token = "<pad>"`` gives a token that the vocabulary has the role; ``add_special_tokens``
    also adds it to the vocabulary if it is new.
    """

    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = [*ROLES, "additional_special_tokens"]

    bos_token = _TokenOfRole()
    eos_token = _TokenOfRole()
    unk_token = _TokenOfRole()
    sep_token = _TokenOfRole()
    pad_token = _TokenOfRole()
    cls_token = _TokenOfRole()
    mask_token = _TokenOfRole()

    bos_token_id = _IdOfRole()
    eos_token_id = _IdOfRole()
    unk_token_id = _IdOfRole()
    sep_token_id = _IdOfRole()
    pad_token_id = _IdOfRole()
    cls_token_id = _IdOfRole()
    mask_token_id = _IdOfRole()

    def __init__(self, roles: Mapping[str, AddedToken | None], additional: Sequence[AddedToken] = ()) -> None:
        self._roles: dict[str, AddedToken | None] = dict(roles)
        self._additional: list[AddedToken] = list(additional)
        self._pad_token_type_id = 0

    @abstractmethod
    def _token_to_id(self, token: str) -> int | None:
        """Give the id of a token, None if the vocabulary does not have it."""

    @abstractmethod
    def _id_to_token(self, token_id: int) -> str:
        """Give the token of an id."""

    @abstractmethod
    def _add_tokens(self, tokens: Sequence[str | AddedToken], special: bool) -> int:
        """Add tokens to the vocabulary; say how many were new."""

    def special_token(self, role: str) -> tuple[str, int]:
        """Give the text and id of the token of a role.

        Raises:
            ValueError: If the tokenizer has no such token.
        """
        token = self._roles.get(role)
        token_id = None if token is None else self._token_to_id(token.content)
        if token is None or token_id is None:
            raise ValueError(f"This tokenizer has no {role}; give it one with add_special_tokens({{'{role}': …}}).")
        return token.content, token_id

    @property
    def pad_token_type_id(self) -> int:
        """The token type of padding, 0."""
        return self._pad_token_type_id

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens that have no role."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, values: Sequence[str | AddedToken]) -> None:
        self._additional = [as_added_token(value) for value in token_list(values)]

    @property
    def additional_special_tokens_ids(self) -> list[int | None]:
        """The ids of the special tokens that have no role."""
        return [self._token_to_id(token) for token in self.additional_special_tokens]

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens that have no role, under 5.x's name."""
        return self.additional_special_tokens

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Role to token text, and ``additional_special_tokens`` to a list; roles that are not filled are left out."""
        roles: dict[str, str | list[str]] = {
            role: token.content for role in ROLES if (token := self._roles.get(role)) is not None
        }
        return {**roles, "additional_special_tokens": self.additional_special_tokens} if self._additional else roles

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """Like ``special_tokens_map``, with the tokens' flags."""
        roles: dict[str, AddedToken | list[AddedToken]] = {
            role: token for role in ROLES if (token := self._roles.get(role)) is not None
        }
        return {**roles, "additional_special_tokens": list(self._additional)} if self._additional else roles

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """All special tokens with their flags, each once."""
        tokens = [token for role in ROLES if (token := self._roles.get(role)) is not None]
        return list({token.content: token for token in [*tokens, *self._additional]}.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """The texts of all special tokens, each once."""
        return [token.content for token in self.all_special_tokens_extended]

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of all special tokens, each once; tokens that the vocabulary lacks are left out."""
        ids = (self._token_to_id(token) for token in self.all_special_tokens)
        return list(dict.fromkeys(token_id for token_id in ids if token_id is not None))

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens to the vocabulary.

        Args:
            new_tokens: One token or several.
            special_tokens: Never split them or change them on the way, and skip them when decoding.

        Returns:
            How many were new. If any was, call ``model.resize_token_embeddings(len(tokenizer))``.
        """
        if isinstance(new_tokens, str | AddedToken):
            new_tokens = [new_tokens]
        return self._add_tokens(new_tokens, special_tokens)

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, str | AddedToken | Sequence[str | AddedToken]],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Give tokens a role, and add those that the vocabulary lacks.

        Args:
            special_tokens_dict: Role (such as ``"pad_token"``) to token; ``"additional_special_tokens"`` to a list.
            replace_extra_special_tokens: Forget earlier additional tokens instead of keeping them beside the new ones.

        Returns:
            How many tokens were new.

        Raises:
            ValueError: If a key is no role, or the additional tokens are no list. Nothing is changed then.
            TypeError: If something is no token.
        """
        new: dict[str, list[AddedToken]] = {}
        for key, value in special_tokens_dict.items():
            if key not in (*ROLES, *_EXTRA_NAMES):
                raise ValueError(f"{key!r} is no special token's role; choose from {self.SPECIAL_TOKENS_ATTRIBUTES}.")
            tokens: list[Any] = [value] if key in ROLES else token_list(value, key)
            new[key] = [as_added_token(token) for token in tokens]
        for key, added in new.items():
            if key in ROLES:
                self._roles[key] = added[0]
            else:
                self._additional = added if replace_extra_special_tokens else [*self._additional, *added]
        return self._add_tokens([token for added in new.values() for token in added], special=True)

    def sanitize_special_tokens(self) -> int:
        """Add every special token that the vocabulary lacks; say how many there were."""
        return self._add_tokens(self.all_special_tokens_extended, special=True)
