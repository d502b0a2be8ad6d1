"""``transformers-cli export onnx``: a model or an adapter as an ONNX file that any runtime can serve."""

from __future__ import annotations

import argparse
from typing import Any

from ..models.table import TASKS

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Add ``export`` and its verb to the command line."""
    parser = commands.add_parser("export", help="write a model or adapter for another runtime")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="FORMAT")
    onnx = verbs.add_parser(
        "onnx",
        help="an ONNX file for any batch and length, compared with PyTorch before it counts as written",
        description="Writes a folder with model.onnx (any batch, length and mask; the adapter merged into the "
        "weights), config.json and the tokenizer. The file is run in onnxruntime at several shapes and compared with "
        "PyTorch before the folder is put in place.",
    )
    onnx.set_defaults(run=run_onnx)
    onnx.add_argument("source", metavar="FOLDER", help="a model's or an adapter's folder or hub id")
    onnx.add_argument("target", metavar="OUT", help="a new folder")
    onnx.add_argument("--task", choices=TASKS, help="what it is for, where what was saved does not say it")
    onnx.add_argument("--base", help="an adapter's base: a folder or hub id, where it is not where the adapter says")
    onnx.add_argument("--int8", action="store_true", help="write model_int8.onnx too: 8-bit weights, a quarter of it")
    files = onnx.add_argument_group("accuracy of each file, of a classifier of texts")
    files.add_argument("--validation_file", metavar="FILE", help="labelled: .csv or .tsv with a header, or .jsonl")
    files.add_argument("--text_column", default="sentence", help="default: %(default)s")
    files.add_argument("--text_pair_column", help="the second text, where there are two")
    files.add_argument("--label_column", default="label", help="names or numbers of labels; default: %(default)s")


def run_onnx(options: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    from ..exporting.onnx_folder import write_folder

    columns = [options.text_column, *([options.text_pair_column] if options.text_pair_column else [])]
    try:
        lines = write_folder(
            options.source,
            options.target,
            task=options.task,
            base=options.base,
            int8=options.int8,
            validation_file=options.validation_file,
            text_columns=columns,
            label_column=options.label_column,
        )
    except ImportError as error:  # the extra is not installed: the message says how it comes
        raise ValueError(str(error)) from error
    print(*lines, sep="\n")
    return 0
