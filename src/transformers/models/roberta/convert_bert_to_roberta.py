"""Turn a BERT checkpoint into RoBERTa's layout, with equal outputs.

The two encoders compute the same thing. What differs: names begin with ``roberta.``, and positions are counted from
``pad_token_id + 1``, so the position table gets that many rows in front (zeros, which padding tokens read). Token
types are kept, and so is the WordPiece tokenizer.

Usage::

    python -m transformers.models.roberta.convert_bert_to_roberta BERT_FOLDER NEW_FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...configuration.shapes import ENCODER
from ...configuration_utils import CONFIG_NAME
from ...modeling.weights import load_weights, save_weights
from ...utils.json_files import load_json
from ...utils.shapes import Record
from ...utils.writing import write_bytes, write_text
from .configuration_roberta import RobertaConfig

__all__ = ["convert", "convert_state_dict"]

_POSITIONS = "embeddings.position_embeddings.weight"
_TOKENIZER_FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_KEPT_FIELDS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
)


def convert_state_dict(state_dict: dict[str, Tensor], pad_token_id: int) -> dict[str, Tensor]:
    """Rename a BERT encoder's tensors and shift its position table.

    Args:
        state_dict: A BERT checkpoint, with or without the ``bert.`` prefix; heads are left out.
        pad_token_id: Id of the padding token.

    Returns:
        The tensors of a `RobertaModel`, with the ``roberta.`` prefix.

    Raises:
        ValueError: If there is no position table, so that this is no BERT checkpoint.
    """
    tensors = {name.removeprefix("bert."): tensor for name, tensor in state_dict.items()}
    if _POSITIONS not in tensors:
        raise ValueError(f"The checkpoint holds no '{_POSITIONS}'; a BERT encoder was expected.")
    table = tensors[_POSITIONS]
    tensors[_POSITIONS] = torch.cat([table.new_zeros(pad_token_id + 1, table.shape[1]), table])
    encoder = ("embeddings.", "encoder.", "pooler.")
    return {
        f"roberta.{name}": tensor
        for name, tensor in tensors.items()
        if name.startswith(encoder) and not name.endswith("position_ids")
    }


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Convert a BERT folder, weights, configuration and tokenizer.

    Args:
        source: A folder with ``config.json``, weights and ``vocab.txt``.
        target: A new folder.

    Raises:
        OSError: If ``source`` is no model's folder.
        ValueError: If it is not BERT with absolute positions, is incomplete, or ``target`` holds files already.
    """
    source, target = Path(source), Path(target)
    if not (source / CONFIG_NAME).is_file():
        raise OSError(f"'{source}' holds no {CONFIG_NAME}; the folder of a BERT checkpoint was expected.")
    content = load_json(source / CONFIG_NAME, Record(ENCODER))
    if content.get("model_type") != "bert":
        raise ValueError(f"'{source}' holds a '{content.get('model_type')}' model; 'bert' was expected.")
    position_type = content.get("position_embedding_type", "absolute")
    if position_type != "absolute":
        raise ValueError(
            f"'{source}' has '{position_type}' positions; RoBERTa's are absolute, so outputs would differ."
        )
    if "max_position_embeddings" not in content:
        raise ValueError(f"'{source / CONFIG_NAME}' does not say max_position_embeddings.")
    if target.is_dir() and any(target.iterdir()):
        raise ValueError(f"'{target}' is not empty; give a new folder.")
    pad = int(content.get("pad_token_id", 0))
    ids = _special_ids(source)
    config = RobertaConfig(
        **{name: content[name] for name in _KEPT_FIELDS if name in content},
        max_position_embeddings=content["max_position_embeddings"] + pad + 1,
        pad_token_id=pad,
        bos_token_id=ids["[CLS]"],
        eos_token_id=ids["[SEP]"],
        tokenizer_class="BertTokenizer",
        architectures=["RobertaModel"],
        dtype="float32",
    )
    tensors = convert_state_dict(load_weights(source), pad)
    target.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            write_bytes(target / name, (source / name).read_bytes())
    _set_tokenizer_length(target / "tokenizer_config.json", content["max_position_embeddings"])
    config.save_pretrained(target)
    save_weights(tensors, target)


def _special_ids(source: Path) -> dict[str, int]:
    """Find the ids of the first and the last token in the vocabulary."""
    vocabulary = source / "vocab.txt"
    if not vocabulary.is_file():
        raise OSError(f"'{source}' holds no vocab.txt; a WordPiece vocabulary was expected.")
    words = vocabulary.read_text(encoding="utf-8").split("\n")  # splitlines would also split inside rare words
    lacking = [word for word in ("[CLS]", "[SEP]") if word not in words]
    if lacking:
        raise ValueError(f"'{vocabulary}' holds no {lacking[0]}; a BERT vocabulary was expected.")
    return {word: words.index(word) for word in ("[CLS]", "[SEP]")}


def _set_tokenizer_length(path: Path, length: int) -> None:
    """Let the tokenizer truncate at the model's own length (some checkpoints say a shorter one)."""
    content = load_json(path) if path.is_file() else {}
    content.update(tokenizer_class="BertTokenizer", model_max_length=length)
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Turn a BERT checkpoint into RoBERTa's layout, with equal outputs.")
    parser.add_argument("source", metavar="BERT_FOLDER", help="config.json, weights and vocab.txt of a BERT encoder")
    parser.add_argument("target", metavar="NEW_FOLDER", help="where the RoBERTa checkpoint goes; must not hold files")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.target)
    except (OSError, ValueError) as error:
        print(f"convert_bert_to_roberta: {error}", file=sys.stderr)
        return 2
    print(f"Written: {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
