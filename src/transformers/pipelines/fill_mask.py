"""The words that a masked language model expects in the place of a mask.

Letters in shapes: ``N`` masks of a batch, ``V`` vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from ..heads.masked_lm import MaskedLM
from ..utils import logging
from .base import Pipeline
from .computing import Batch, Row
from .options import Options

__all__ = ["FillMaskPipeline"]

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class _Options(Options):
    """What may be chosen.

    Attributes:
        top_k: How many words to give for each mask.
        targets: Score these words alone. Of a word that the vocabulary lacks its first piece is taken, with a warning.
    """

    top_k: int = 5
    targets: str | tuple[str, ...] | list[str] | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        super().__post_init__()
        if not isinstance(self.top_k, int) or self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k!r}; a whole number from 1 was expected.")
        if self.targets is not None and not self.targets:
            raise ValueError("targets is empty; at least one word was expected.")


class FillMaskPipeline(Pipeline):
    """Gives words for the masks of a text, the most probable first.

    A text's answer is a list of ``{"score": …, "token": …, "token_str": …, "sequence": …}``; a list of such lists
    where it has several masks, each filled by itself.
    """

    task = "fill-mask"
    head = "masked-lm"
    _heads = (MaskedLM,)
    options_class = _Options

    def _encode(self, examples: Sequence[Any], numbers: Sequence[int], options: Any) -> list[list[Row]]:
        if self.tokenizer.mask_token_id is None:
            raise ValueError("This tokenizer has no mask token.")
        rows = super()._encode(examples, numbers, options)
        for number, (row,) in zip(numbers, rows, strict=True):
            if self.tokenizer.mask_token_id not in row.input_ids:
                mask = self.tokenizer.mask_token
                raise ValueError(
                    f"Example {number} has no {mask} for a word to be put in its place (or it was cut off)."
                )
        return rows

    def score(self, batch: Batch, options: Any) -> Sequence[Any]:
        """Give the best words of every mask: scores and ids; see `Pipeline.score`."""
        assert batch.inputs.input_ids is not None
        places = torch.eq(batch.inputs.input_ids, self.tokenizer.mask_token_id or 0)
        scores = cast(MaskedLM, self.model).scores_at(batch.inputs, places).float().softmax(-1)  # (N, V)
        targets = self._targets(options)
        if targets is not None:
            scores = scores[:, targets]
        best = scores.topk(min(options.top_k, scores.shape[-1]))
        ids = best.indices if targets is None else torch.tensor(targets, device=scores.device)[best.indices]
        words = iter(zip(best.values.tolist(), ids.tolist(), strict=True))
        return [[next(words) for _ in range(number)] for number in places.sum(1).tolist()]

    def _targets(self, options: _Options) -> list[int] | None:
        """Give the ids of the words that alone are scored."""
        if options.targets is None:
            return None
        vocabulary = self.tokenizer.get_vocab()
        found: dict[int, None] = {}
        for word in [options.targets] if isinstance(options.targets, str) else options.targets:
            number = vocabulary.get(word)
            if number is None:
                pieces = self.tokenizer(word, add_special_tokens=False)["input_ids"]
                if not pieces:
                    raise ValueError(f"The target {word!r} has no token in this vocabulary.")
                number = pieces[0]
                piece = self.tokenizer.convert_ids_to_tokens(number)
                logger.warning("The vocabulary has no '%s'; its first piece, '%s', is scored.", word, piece)
            found[number] = None
        return list(found)

    def _answer(self, example: Any, rows: Sequence[Row], outputs: Sequence[Any], options: Any) -> Any:
        ids, masks = rows[0].input_ids, outputs[0]
        places = [place for place, number in enumerate(ids) if number == self.tokenizer.mask_token_id]
        filled = [
            [self._filled(ids, place, *word, whole=len(places) > 1) for word in zip(*words, strict=True)]
            for place, words in zip(places, masks, strict=True)
        ]
        return filled if len(places) > 1 else filled[0]

    def _filled(self, ids: list[int], place: int, score: float, word: int, *, whole: bool) -> dict[str, Any]:
        """Put a word into a mask's place; with several masks special tokens are shown, as the others are some."""
        text = [*ids[:place], word, *ids[place + 1 :]]
        return {
            "score": score,
            "token": word,
            "token_str": self.tokenizer.decode([word]),
            "sequence": self.tokenizer.decode(text, skip_special_tokens=not whole),
        }
