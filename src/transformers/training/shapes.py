"""What the files of a checkpoint hold, and a DeepSpeed configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..utils.shapes import Flag, ListOf, MapOf, Null, OneOf, Real, Record, Shape, Text, TupleOf, Whole, optional

__all__ = ["DEEPSPEED", "LARGEST_STATE", "MANIFEST", "OPTIMIZER", "RANDOM_STATES", "SCHEDULER", "TRAINER_STATE"]

LARGEST_STATE = 64 * 2**20
"""The largest JSON file of a checkpoint in bytes; its tensors lie elsewhere."""

_HASH = Text(pattern="[0-9a-f]{64}", named="a sha256 in hexadecimal")
_SEALED = Record({"bytes": Whole(0), "sha256": _HASH}, required=("bytes", "sha256"), others=None)

MANIFEST = Record({"files": MapOf(_SEALED, least=1)}, required=("files",), others=None)
"""``manifest.json``: size and hash of each file."""

_COUNT = Whole(0)
_NUMBER = Real(finite=False)

TRAINER_STATE = Record(
    {
        **dict.fromkeys(("global_step", "max_steps", "num_train_epochs", "global_batch_size"), _COUNT),
        **dict.fromkeys(("current_epoch", "epoch_steps_done", "unlogged_steps"), _COUNT),
        **dict.fromkeys(("is_local_process_zero", "is_world_process_zero", "is_hyper_param_search"), Flag()),
        "best_metric": optional(_NUMBER),
        "best_model_checkpoint": optional(Text()),
        "callback_states": MapOf(Record({})),
        "epoch": optional(Real(0)),
        "log_history": OneOf((Null(), ListOf(Record({})))),
        "loss_sum": _NUMBER,
        "total_flos": _NUMBER,
        "trial_name": optional(Text()),
        "trial_params": optional(Record({})),
        "unlogged_loss_sum": _NUMBER,
    },
    required=("global_step", "max_steps"),
)
"""``trainer_state.json``."""

OPTIMIZER = Record(
    {"param_groups": ListOf(Record({"params": ListOf(OneOf((Whole(0), Text())))}, required=("params",)), least=1)},
    required=("param_groups",),
)
"""``optimizer.json`` with its tensors put in."""

SCHEDULER = Record({"scheduler": Record({}), "scaler": optional(Record({}))}, required=("scheduler", "scaler"))
"""``scheduler.json``."""


@dataclass(frozen=True)
class WholeNumbers(Shape):
    """A tensor of whole numbers in one row.

    Attributes:
        length: How many; any number of them where None.
    """

    length: int | None = None

    @property
    def expected(self) -> str:
        """The shape in words."""
        return f"a tensor of {self.length or 'some'} whole numbers"

    def is_kind(self, value: Any) -> bool:
        """Say whether it is a tensor."""
        return isinstance(value, torch.Tensor)

    def _in_range(self, value: Any) -> bool:
        return not value.is_floating_point() and value.dim() == 1 and self.length in (None, len(value))


_MERSENNE = 624  # words of the generator that Python and NumPy have
_PYTHONS = TupleOf(
    (Whole(3, 3), ListOf(Whole(0, 2**32 - 1), least=_MERSENNE + 1, most=_MERSENNE + 1), optional(Real()))
)
_NUMPYS = TupleOf((Text(("MT19937",)), WholeNumbers(_MERSENNE), Whole(0, _MERSENNE), Whole(0, 1), Real()))
_GENERATORS = Record(
    {"python": _PYTHONS, "numpy": _NUMPYS, "torch": WholeNumbers(), "cuda": WholeNumbers()},
    required=("python", "numpy", "torch"),
)

RANDOM_STATES = ListOf(_GENERATORS, least=1)
"""``rng_state.json``: the generators of every process."""

_SWITCH = OneOf((Flag(), Text(("auto",))))
_SIZE = OneOf((Real(0), Text(("auto",))))
_SECTION = {"type": Text(), "params": Record({})}

DEEPSPEED = Record(
    {
        **dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), _SIZE),
        "amp": Record({"enabled": _SWITCH}),
        "bf16": Record({"enabled": _SWITCH}),
        "fp16": Record({"enabled": _SWITCH}),
        "gradient_clipping": _SIZE,
        "optimizer": Record(_SECTION),
        "scheduler": Record(_SECTION),
        "steps_per_print": OneOf((Real(0, finite=False), Text(("auto",)))),  # infinity stands for never
        "zero_optimization": Record(
            {
                "stage": Whole(),
                **dict.fromkeys(("offload_optimizer", "offload_param"), optional(Record({"device": Text()}))),
                **dict.fromkeys(("reduce_bucket_size", "allgather_bucket_size"), _SIZE),
                **dict.fromkeys(("stage3_prefetch_bucket_size", "stage3_param_persistence_threshold"), _SIZE),
            }
        ),
    }
)
"""A DeepSpeed configuration, as far as it is read here; DeepSpeed reads the rest."""
