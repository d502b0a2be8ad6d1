"""What every head is: a task on top of an encoder, which packs its batch once and leaves the result packed.

A head's `Head._compute` says what is made of the encoder's output. A model class says in one line which arguments its
encoder takes (``forward = SomeHead.forward_with(names)``). The ``forward`` that comes of it has 4.4.2's names and
order, to a caller as to `inspect.signature` and `help`, and each argument is written and documented once: the
encoder's in `transformers.layers.inputs`, a head's own in its `Head._compute`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor

from ..configuration_utils import PretrainedConfig
from ..layers.inputs import EncoderInputs
from ..layers.packing import PackedOutput
from ..modeling_utils import PreTrainedModel
from ..utils.generic import ModelOutput
from .mixed import mixed_output

__all__ = ["Head"]

_ENCODERS = {field.name: str(field.type) for field in fields(EncoderInputs)}  # its arguments with their types
_ADAPTER_NAMES = (
    "adapter_names: In evaluation, the adapter of each row; the active one everywhere where None. See\n"
    "        `transformers.heads.mixed`."
)
_RETURN_DICT = "return_dict: Return a `ModelOutput`; the configuration's choice where None."
_CHOICES = ("output_attentions", "output_hidden_states", "return_dict")  # these stand behind a head's own arguments


class _Encoder(Protocol):
    """What a head needs of an encoder."""

    def encode(
        self,
        inputs: EncoderInputs,
        *,
        first_token_only: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> PackedOutput:
        """Encode a padded batch and leave the result packed."""


class Head(PreTrainedModel):
    """A task on top of an encoder; a model class inherits its head in front of its family's base class.

    Attributes:
        task_type: PEFT's name for the task, which an adapter's folder records; None where PEFT has none.
        pipeline_tag: The hub's name for the task, which a model card states.
        may_decode: Whether the task can be done by tokens that see those before them alone.
        labels_each_token: Whether there is a label for each token of a batch, padding included.
        encoded: What the encoder gave already, in a view that scores some rows of a mixed batch.
        _compute: Takes the encoder's inputs and the head's own arguments, and gives the output. Each head says how;
            its docstring is that of ``forward``.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If ``config.is_decoder`` is set and the task is not for it.
    """

    task_type: ClassVar[str | None] = None
    pipeline_tag: ClassVar[str | None] = None
    may_decode: ClassVar[bool] = False
    labels_each_token: ClassVar[bool] = False
    encoded: PackedOutput | None = None
    _compute: Callable[..., ModelOutput]

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        if getattr(config, "is_decoder", False) and not self.may_decode:
            raise ValueError(
                f"is_decoder is set, but {type(self).__name__} needs tokens that see each other in both directions. "
                "Pass is_decoder=False; what reads forwards only is RobertaForCausalLM."
            )
        super().__init__(config, *inputs, **kwargs)

    @property
    def _first_token_only(self) -> bool:
        """Whether the head reads each row's first token alone."""
        return False

    def texts_a_row(self, inputs: EncoderInputs) -> int:
        """Say how many texts a row of the batch holds: one, unless several are compared."""
        return 1

    def encode(
        self,
        inputs: EncoderInputs,
        *,
        first_token_only: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> PackedOutput:
        """Encode a padded batch and leave the result packed: the encoder below the head does it.

        Args:
            inputs: What the caller gave.
            first_token_only: Let the last layer compute each row's first token alone, unless hidden states or
                attentions are asked for.
            adapter_names: The adapter of each row; the active one everywhere where None.

        Returns:
            The packed output.

        Raises:
            ValueError: As of ``forward``.
        """
        if self.encoded is not None:
            return self.encoded
        encoder = cast(_Encoder, self.base_model)
        return encoder.encode(inputs, first_token_only=first_token_only, adapter_names=adapter_names)

    def scores(self, inputs: EncoderInputs) -> dict[str, Tensor]:
        """Compute what ``forward`` gives without labels, as plain tensors by name: for graphs that are captured.

        Args:
            inputs: What the encoder is given.

        Raises:
            NotImplementedError: Here; each head says how.
        """
        raise NotImplementedError(f"{type(self).__name__} says nothing of its outputs without a loss.")

    @classmethod
    def forward_with(cls, encoder_arguments: Sequence[str]) -> Callable[..., Any]:
        """Make the ``forward`` of a model class.

        Args:
            encoder_arguments: Fields of `EncoderInputs` that the model takes, in 4.4.2's order. The head's own
                arguments come behind them, unless the list places them itself, and then what is to be returned.

        Returns:
            A method that takes these arguments, by place or by name, and gives what `_compute` makes of them, as a
            tuple where ``return_dict`` says so.
        """
        signature = _signature(cls, encoder_arguments)

        def forward(self: Head, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind(self, *args, **kwargs).arguments
            del given["self"]
            return_dict = given.pop("return_dict", None)
            adapter_names = given.pop("adapter_names", None)
            inputs = EncoderInputs(**{name: given.pop(name) for name in list(given) if name in _ENCODERS})
            if adapter_names is not None:
                return self._returned(mixed_output(self, inputs, adapter_names, given), return_dict)
            return self._returned(self._compute(inputs, **given), return_dict)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        forward.__doc__ = _documentation(cls, list(signature.parameters)[1:])
        return forward


def _signature(head: type[Head], encoder_arguments: Sequence[str]) -> inspect.Signature:
    """Put the arguments in order: the encoder's, the head's own, what is to be returned, and what 4.4.2 had not."""
    compute = inspect.signature(head._compute)
    own = {name: parameter.annotation for name, parameter in list(compute.parameters.items())[2:]}
    types = {**_ENCODERS, "return_dict": "bool | None", "adapter_names": "Sequence[str] | None", **own}
    names = [*encoder_arguments, *(name for name in own if name not in encoder_arguments), *_CHOICES]
    names += ["adapter_names"]  # 4.4.2 had none
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, default=None, annotation=types[name]) for name in names]
    return inspect.Signature(
        [inspect.Parameter("self", kind), *parameters],
        return_annotation=f"{compute.return_annotation} | tuple[Any, ...]",
    )


def _documentation(head: type[Head], names: Sequence[str]) -> str | None:
    """Write the docstring of ``forward``: that of `Head._compute`, with every argument in its section ``Args``."""
    if not head._compute.__doc__ or not EncoderInputs.__doc__:  # python -OO
        return None
    text = inspect.cleandoc(head._compute.__doc__)
    own = _section(text, "Args")
    entries = {**_entries(_section(inspect.cleandoc(EncoderInputs.__doc__), "Attributes")), **_entries(own)}
    entries["return_dict"], entries["adapter_names"] = f"    {_RETURN_DICT}", f"    {_ADAPTER_NAMES}"
    return text.replace(own, "\n".join(entries[name] for name in names))


def _section(text: str, title: str) -> str:
    """Cut a section out of a Google docstring, without its title."""
    found = re.search(rf"^{title}:\n((?: +.*(?:\n|$))+)", text, re.MULTILINE)
    return found[1].rstrip() if found else ""


def _entries(section: str) -> dict[str, str]:
    """Part a section into its entries, by name."""
    return {entry.split(":")[0].strip(): entry for entry in re.split(r"\n(?=    \w)", section)}
