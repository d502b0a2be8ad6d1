"""One fuzz target per reader: how its whole files are made, which of them are damaged, and how they are read and used.

A target's ``use`` does what a program does with what was read. It may raise the documented errors, `ValueError` and
`OSError`; whatever it raises beside them is a fault, and so is a value that is not the file's (`Changed`).
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fuzz_choices import CHOICE_FILES, make_choices, use_choices
from fuzz_data import DATA_FILES, make_data, make_identity, use_data, use_identity
from fuzz_questions import QUESTION_FILES, THRESHOLD_FILE, make_questions, use_questions
from fuzz_sentences import SENTENCE_FILES, make_sentences, use_sentences
from fuzz_texts import TEXT_FILES, make_texts, use_texts
from safetensors.torch import load_file
from tiny import TINY, tiny_config
from vocabularies import make_bert_vocabulary, make_roberta_vocabulary, make_sentencepiece_model

from common.identity import IDENTITY, IDENTITY_FILE
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DebertaV2Config,
    HfArgumentParser,
    RobertaConfig,
    RobertaModel,
    TrainingArguments,
)
from transformers.adapters.adapterhub import read_bottleneck
from transformers.adapters.reading import AdapterContent, read_adapter
from transformers.adapters.shapes import HEAD_CONFIG, LORA_METADATA, PART_METADATA, PEFT_CONFIG
from transformers.configuration.shapes import COMMON
from transformers.modeling.weights import load_weights
from transformers.tokenization.shapes import SPECIAL_TOKENS, TOKENIZER_CONFIG, TOKENIZER_JSON
from transformers.training.checkpoint import verify_checkpoint, writing_checkpoint
from transformers.training.checkpoint_state import capture_rng_state, load_tree, restore_rng_state, save_tree
from transformers.training.deepspeed_config import read_config
from transformers.training.shapes import DEEPSPEED, MANIFEST, OPTIMIZER, RANDOM_STATES, SCHEDULER, TRAINER_STATE
from transformers.training.state import TrainerState
from transformers.utils.shapes import Record

TEXTS = ["The cat sat on the mat.", "naïve café ﬁ ☃ 東京 <s> [MASK]", "", "a\u0301 x" * 4]


def _is_one_in(number: int, *paths: Path) -> bool:
    """Choose some inputs for what takes long, by their content: so a seed repeats all that was done with it."""
    return zlib.crc32(b"".join(path.read_bytes() for path in paths)) % number == 0


class Changed(Exception):
    """What was read is not what the file says."""


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        make: Writes whole files into a folder.
        files: The files that are damaged, one or two at a time.
        use: Reads the folder and uses what was read.
        shapes: Descriptions of JSON files among them, from which further contents are made.
    """

    make: Callable[[Path], object]
    files: tuple[str, ...]
    use: Callable[[Path], object]
    shapes: dict[str, Record] | None = None


# Configurations -------------------------------------------------------------------------------------------------


def _make_deberta_config(folder: Path) -> None:
    fields = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "share_att_key": True}
    content = {**TINY, **fields, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3, "type_vocab_size": 0}
    labels = {
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": 0, "yes": 1},
        "architectures": ["DebertaV2Model"],
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "deberta-v2", **content, **labels}))


def _make_roberta_config(folder: Path) -> None:
    lora = {"apply_lora": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "adapter_size": None}
    labels = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}, "finetuning_task": "sst2"}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "problem_type": None, "reg_loss_wgt": 0.0}
    content = {"model_type": "roberta", **TINY, **lora, **labels, **ids, "pruned_heads": {}, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(content))


def _meaning(name: str, value: object) -> object:
    """Give what a field's value stands for: position terms in a text are a list, and nothing where there are none."""
    if name == "dtype" and isinstance(value, str):
        return value.removeprefix("torch.")
    if name != "pos_att_type" or not isinstance(value, str):
        return value
    terms = [term for term in (part.strip().lower() for part in value.split("|")) if term not in ("", "none")]
    return terms or None


def _use_config(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    content.pop("name_or_path", None)  # where a file was read counts, and not where it lay when it was written
    if config.name_or_path != str(folder):
        raise Changed(f"name_or_path is {config.name_or_path!r} in {folder}")
    older = content.pop("torch_dtype", None)  # its name in older files; the newer one counts more
    if content.get("dtype") is None and config.dtype != (older and older.removeprefix("torch.")):
        raise Changed(f"dtype is {config.dtype!r}, the file says {older!r}")
    for name in type(config).field_shapes.fields.keys() & content.keys():
        found = getattr(config, name, None)
        if isinstance(content[name], bool | int | float | str) and found != _meaning(name, content[name]):
            raise Changed(f"{name} is {found!r}, the file says {content[name]!r}")
    if (
        _is_one_in(4, folder / "config.json")
        and type(config).from_dict(json.loads(json.dumps(config.to_dict()))) != config
    ):
        raise Changed("written and read again it is another configuration")
    if config.num_hidden_layers <= 3 and _is_one_in(8, folder / "config.json"):  # takes longest by far
        with torch.device("meta"):
            AutoModel.from_config(config)


# Tokenizers -----------------------------------------------------------------------------------------------------


def _make_roberta_files(folder: Path) -> None:
    make_roberta_vocabulary(folder, 320)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    size = len(json.loads((folder / "vocab.json").read_text()))
    (folder / "added_tokens.json").write_text(json.dumps({"<new>": size}))


def _make_saved(make: Callable[..., Path]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        make(folder, size=320)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["<new>"])
        tokenizer.save_pretrained(folder, legacy_format=False)
        for name in ("vocab.json", "merges.txt", "vocab.txt", "spm.model"):
            (folder / name).unlink(missing_ok=True)

    return write


def _make_spm(folder: Path, size: int = 320) -> Path:
    """Write a model whose character map has some rules in place of 13,000, which would take most of the time."""
    rules = [(code, code + 32) for code in range(0x41, 0x5B)] + [(0xFB01, 0x66), (0x3000, 0x20), (0x1D400, 0x41)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.tsv").write_text("".join(f"{source:X}\t{target:X}\n" for source, target in rules))
    make_sentencepiece_model(folder, size=size, normalization_rule_tsv=str(folder / "rules.tsv"))
    (folder / "rules.tsv").unlink()
    return folder


def _use_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = tokenizer(TEXTS, truncation=True, max_length=12)["input_ids"]
    tokenizer(TEXTS[0], TEXTS[1], padding="max_length", truncation=True, max_length=16)
    vocabulary = tokenizer.get_vocab()
    for row in rows:
        tokenizer.decode(row)
        if row and max(row) >= len(vocabulary):
            raise Changed(f"id {max(row)} with {len(vocabulary)} tokens")
    repr(tokenizer)
    _compare_vocabulary(folder, vocabulary)
    _compare_roles(folder / "tokenizer_config.json", tokenizer)


def _compare_vocabulary(folder: Path, vocabulary: dict[str, int]) -> None:
    stated: dict[str, int] = {}
    if (folder / "tokenizer.json").is_file():
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        table = content["model"]["vocab"]
        stated = dict(table) if isinstance(table, dict) else {piece: number for number, (piece, _) in enumerate(table)}
        stated |= {token["content"]: token["id"] for token in content.get("added_tokens", ())}
    elif (folder / "vocab.json").is_file():
        stated = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    wrong = next((token for token, number in stated.items() if vocabulary.get(token) != number), None)
    if wrong is not None:
        raise Changed(f"{wrong!r} has id {vocabulary.get(wrong)}, the file says {stated[wrong]}")


def _compare_roles(path: Path, tokenizer: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for role in ("pad_token", "cls_token", "unk_token"):
        stated = content.get(role)
        stated = stated.get("content") if isinstance(stated, dict) else stated
        if stated is not None and getattr(tokenizer, role) != stated:
            raise Changed(f"{role} is {getattr(tokenizer, role)!r}, the file says {stated!r}")


# Weights --------------------------------------------------------------------------------------------------------


def _make_weights(**options: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        torch.manual_seed(0)
        sizes = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        model = RobertaModel(tiny_config(**sizes, num_attention_heads=2), add_pooling_layer=False)
        model.save_pretrained(folder, **options)

    return write


def _make_legacy(folder: Path) -> None:
    _make_weights()(folder)
    tensors = load_weights(folder)
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def _use_weights(folder: Path) -> None:
    tensors = load_weights(folder)
    model = RobertaModel.from_pretrained(folder, add_pooling_layer=False)
    model.eval()(torch.tensor([[0, 5, 6, 2]]))
    state = model.state_dict()
    for name in state.keys() & tensors.keys():
        if not torch.equal(state[name].nan_to_num(), tensors[name].to(state[name].dtype).nan_to_num()):
            raise Changed(f"{name} is not what the file says")


# Adapters -------------------------------------------------------------------------------------------------------

_SMALL = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def _make_adapter(**fields: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        torch.manual_seed(0)
        RobertaModel(tiny_config(**_SMALL), add_pooling_layer=False).save_pretrained(folder / "base")
        model = AutoModelForSequenceClassification.from_pretrained(folder / "base", **fields)
        model.save_adapter(folder)

    return write


def _use_adapter(folder: Path) -> None:
    content = read_adapter(folder)
    _compare_adapter(folder, content)
    if not _is_one_in(4, *(path for path in folder.iterdir() if path.is_file())):
        return
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.eval()(torch.tensor([[0, 5, 6, 2]]))


def _compare_adapter(folder: Path, content: AdapterContent) -> None:
    stated = load_file(next(folder.glob("*.safetensors")))
    if sorted(map(_digest, content.tensors.values())) != sorted(map(_digest, stated.values())):
        raise Changed("tensors")
    if (folder / "adapter_config.json").is_file():
        fields = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if (content.r, content.lora_alpha) != (fields["r"], fields["lora_alpha"]):
            raise Changed(f"r and alpha are {content.r} and {content.lora_alpha}")


def _digest(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.numpy().tobytes()


def _make_adapterhub(folder: Path) -> None:
    where = "roberta.encoder.layer.0.output.adapters.mnli"
    shapes = {"adapter_down.0.weight": (2, 8), "adapter_down.0.bias": (2,)}
    shapes |= {"adapter_up.weight": (8, 2), "adapter_up.bias": (8,)}
    torch.save(
        {f"{where}.{name}": torch.ones(shape) for name, shape in shapes.items()}, folder / "pytorch_adapter.bin"
    )
    head = {"heads.mnli.1.weight": torch.ones(8, 8), "heads.mnli.1.bias": torch.ones(8)}
    torch.save(head, folder / "pytorch_model_head.bin")
    (folder / "head_config.json").write_text('{"config": {"label2id": {"no": 0, "yes": 1}}, "name": "mnli"}')


def _use_adapterhub(folder: Path) -> None:
    content = read_bottleneck(folder)
    stated = json.loads((folder / "head_config.json").read_text()).get("config") or {}
    found = {name: number for number, name in (content.labels or {}).items()}
    if stated.get("label2id") is not None and found != stated["label2id"]:
        raise Changed("label2id")


# Checkpoints and arguments ----------------------------------------------------------------------------------------


def _make_state(folder: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    save_tree(optimizer.state_dict(), folder, "optimizer")
    save_tree({"scheduler": scheduler.state_dict(), "scaler": {}}, folder, "scheduler")
    save_tree([capture_rng_state(torch.device("cpu"))], folder, "rng_state")
    TrainerState(epoch=0.5, global_step=3, max_steps=6, log_history=[{"loss": 0.5, "step": 1}]).save_to_json(
        folder / "trainer_state.json"
    )


def _use_state(folder: Path) -> None:
    load_tree(folder, "optimizer", OPTIMIZER)
    load_tree(folder, "scheduler", SCHEDULER)
    for state in load_tree(folder, "rng_state", RANDOM_STATES):
        restore_rng_state(state, torch.device("cpu"))
    state = TrainerState.load_from_json(folder / "trainer_state.json")
    if state.global_step != json.loads((folder / "trainer_state.json").read_text())["global_step"]:
        raise Changed("global_step")


def _make_sealed(folder: Path) -> None:
    with writing_checkpoint(folder / "checkpoint-3") as partial:
        for name in ("model.safetensors", "optimizer.json", "rng_state.safetensors"):
            (partial / name).write_text(name)


def _use_sealed(folder: Path) -> None:
    verify_checkpoint(folder / "checkpoint-3")
    stated = json.loads((folder / "checkpoint-3" / "manifest.json").read_text())
    if stated != json.loads(_SEALED_BEFORE.setdefault(folder, json.dumps(stated))):
        raise Changed("another manifest counts as this checkpoint's")


_SEALED_BEFORE: dict[Path, str] = {}


def _make_deepspeed(folder: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "scripts" / "ds_config.json", folder / "ds.json")
    (folder / "arguments.json").write_text('{"output_dir": "out", "learning_rate": 1e-4, "logging_steps": 5}')


def _use_arguments(folder: Path) -> None:
    parser = HfArgumentParser(TrainingArguments)
    config = read_config(str(folder / "ds.json"))
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parser.parse_json_file(folder / "arguments.json")
    except SystemExit as stop:  # one line and code 2, as documented
        if stop.code != 2:
            raise
    if config != json.loads((folder / "ds.json").read_text(encoding="utf-8")):
        raise Changed("DeepSpeed's configuration")


TOKENIZER_FILES = {"tokenizer_config.json": TOKENIZER_CONFIG, "special_tokens_map.json": SPECIAL_TOKENS}
TARGETS: dict[str, Target] = {
    "config-roberta": Target(
        _make_roberta_config, ("config.json",), _use_config, {"config.json": RobertaConfig.field_shapes}
    ),
    "config-deberta": Target(
        _make_deberta_config, ("config.json",), _use_config, {"config.json": DebertaV2Config.field_shapes}
    ),
    "tokenizer-settings": Target(
        _make_roberta_files,
        ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"),
        _use_tokenizer,
        {**TOKENIZER_FILES, "config.json": Record(COMMON)},
    ),
    "vocab-json": Target(_make_roberta_files, ("vocab.json", "merges.txt"), _use_tokenizer),
    "vocab-txt": Target(make_bert_vocabulary, ("vocab.txt",), _use_tokenizer),
    "spm-model": Target(_make_spm, ("spm.model",), _use_tokenizer),
    "tokenizer-json-bpe": Target(
        _make_saved(make_roberta_vocabulary), ("tokenizer.json",), _use_tokenizer, {"tokenizer.json": TOKENIZER_JSON}
    ),
    "tokenizer-json-wordpiece": Target(_make_saved(make_bert_vocabulary), ("tokenizer.json",), _use_tokenizer),
    "tokenizer-json-unigram": Target(_make_saved(_make_spm), ("tokenizer.json",), _use_tokenizer),
    "safetensors": Target(_make_weights(), ("model.safetensors",), _use_weights),
    "shards": Target(_make_weights(max_shard_size="1KB"), ("model.safetensors.index.json",), _use_weights),
    "bin": Target(_make_weights(safe_serialization=False), ("pytorch_model.bin",), _use_weights),
    "adapter": Target(
        _make_adapter(apply_lora=True, lora_r=2, lora_alpha=4),
        ("adapter_config.json", "lora_metadata.json", "adapter_model.safetensors"),
        _use_adapter,
        {"adapter_config.json": PEFT_CONFIG, "lora_metadata.json": LORA_METADATA},
    ),
    "adapter-part": Target(
        _make_adapter(apply_adapter=True, adapter_type="houlsby", adapter_size=2),
        ("trained_model.json", "trained_model.safetensors"),
        _use_adapter,
        {"trained_model.json": PART_METADATA},
    ),
    "adapterhub": Target(
        _make_adapterhub,
        ("pytorch_adapter.bin", "pytorch_model_head.bin", "head_config.json"),
        _use_adapterhub,
        {"head_config.json": HEAD_CONFIG},
    ),
    "manifest": Target(
        _make_sealed, ("checkpoint-3/manifest.json",), _use_sealed, {"checkpoint-3/manifest.json": MANIFEST}
    ),
    "training-state": Target(
        _make_state,
        ("trainer_state.json", "optimizer.json", "optimizer.safetensors", "scheduler.json", "rng_state.json"),
        _use_state,
        {"trainer_state.json": TRAINER_STATE, "scheduler.json": SCHEDULER},
    ),
    "arguments": Target(_make_deepspeed, ("ds.json", "arguments.json"), _use_arguments, {"ds.json": DEEPSPEED}),
    "bin-legacy": Target(_make_legacy, ("pytorch_model.bin",), _use_weights),
    "data": Target(make_data, DATA_FILES, use_data),
    "questions": Target(make_questions, (*QUESTION_FILES, THRESHOLD_FILE), use_questions),
    "sentences": Target(make_sentences, SENTENCE_FILES, use_sentences),
    "texts": Target(make_texts, TEXT_FILES, use_texts),
    "choices": Target(make_choices, CHOICE_FILES, use_choices),
    "run-identity": Target(make_identity, (IDENTITY_FILE,), use_identity, {IDENTITY_FILE: IDENTITY}),
}
