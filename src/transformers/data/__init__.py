"""From rows of a data set to batches."""

from __future__ import annotations

from ..utils.lazy_names import LazyNames

_LAZY = LazyNames(
    globals(),
    {
        "data_collator": (
            "DataCollator",
            "DataCollatorForLanguageModeling",
            "DataCollatorWithPadding",
            "default_data_collator",
        )
    },
)

__getattr__ = _LAZY.load
__dir__ = _LAZY.listed
