"""What ``config.json`` holds: the fields that every configuration has, and those of an encoder's sizes."""

from __future__ import annotations

from ..utils.shapes import Flag, ListOf, MapOf, Null, OneOf, Real, Record, Shape, Text, Whole, optional

__all__ = ["COMMON", "ENCODER", "check_padding_id", "place_of"]

_TOKEN_ID = OneOf((Null(), Whole(-1, 2**31 - 1)))
_RATE = Real(0, below=1)
_LABEL = OneOf((Text(), Whole()))
_LABELS = 100_000  # classes; each has a name that is made where the file gives none
_DTYPE = Text(pattern=r"(torch\.)?b?float(8\w*|16|32|64)", named="a dtype of weights, such as 'float32'")

COMMON: dict[str, Shape] = {
    **dict.fromkeys(("output_hidden_states", "output_attentions", "return_dict", "tie_word_embeddings"), Flag()),
    **dict.fromkeys(("apply_lora", "apply_adapter", "apply_bitfit", "gradient_checkpointing", "torchscript"), Flag()),
    **dict.fromkeys(("add_cross_attention", "is_decoder", "is_encoder_decoder", "use_cache"), Flag()),
    **{f"{role}_token_id": _TOKEN_ID for role in ("bos", "pad", "eos", "sep", "cls", "unk")},
    "adapter_path": optional(Text()),
    "adapter_size": optional(Whole(0, 65_536)),
    "adapter_type": optional(Text()),
    "architectures": optional(ListOf(Text())),
    "chunk_size_feed_forward": Whole(0),
    "cls_dropout": optional(_RATE),
    "consistency": optional(Text()),
    "dtype": optional(_DTYPE),
    "finetuning_task": optional(Text()),
    "id2label": OneOf((Null(), MapOf(_LABEL, numbered=True, most=_LABELS), ListOf(_LABEL, most=_LABELS))),
    "label2id": optional(MapOf(OneOf((Whole(0), Text(pattern="[0-9]+", named="a class id"))), most=_LABELS)),
    "lora_alpha": optional(Real()),
    "lora_dropout": _RATE,
    "lora_r": optional(Whole(0, 65_536)),
    "masking_prob": Real(0, 1),
    "model_type": optional(Text()),
    "name_or_path": optional(Text()),
    "num_labels": optional(Whole(1, _LABELS)),
    "position_embedding_type": Text(),
    "problem_type": optional(Text(("regression", "single_label_classification", "multi_label_classification"))),
    "pruned_heads": optional(MapOf(ListOf(Whole(0)))),
    "reg_loss_wgt": Real(0),
    "task_specific_params": optional(Record({})),
    "tokenizer_class": optional(Text()),
    "torch_dtype": optional(_DTYPE),
}
"""Fields of `PretrainedConfig`."""

ENCODER: dict[str, Shape] = {
    **COMMON,
    "attention_probs_dropout_prob": _RATE,
    "hidden_act": Text(),
    "hidden_dropout_prob": _RATE,
    "hidden_size": Whole(1, 65_536),
    "initializer_range": Real(0, 1_000),
    "intermediate_size": Whole(1, 2**20),
    "layer_norm_eps": Real(0, 1),
    "max_position_embeddings": Whole(1, 2**20),
    "num_attention_heads": Whole(1, 4_096),
    "num_hidden_layers": Whole(1, 192),
    "type_vocab_size": Whole(0, 65_536),
    "vocab_size": Whole(1, 2**24),
}
"""Fields of an encoder. The bounds lie far beyond every published model; what is larger is no size but damage."""


def place_of(name: object) -> str:
    """Name a configuration's file in a message: ``'<folder>/config.json'``; nothing where it came from no file."""
    if not isinstance(name, str) or not name:
        return ""
    return f"'{name}'" if name.endswith(".json") else f"'{name.rstrip('/')}/config.json'"


def check_padding_id(pad_token_id: int | None, **rows: int) -> None:
    """See that the padding token has a row in the tables that keep one for it.

    Args:
        pad_token_id: The configuration's; None where there is none.
        **rows: Rows of each table, by the name of the field that says so.

    Raises:
        ValueError: If it lies beyond one.
    """
    for name, size in rows.items():
        if pad_token_id is not None and not 0 <= pad_token_id < size:
            raise ValueError(f"pad_token_id is {pad_token_id}; with {name} {size}, 0 to {size - 1} was expected.")
