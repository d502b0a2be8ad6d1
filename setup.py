"""Installs the package: ``pip install -e .``, with extras for what not everybody needs; each says what for."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "src/transformers/version.py").read_text())[1]

# Ranges: from the version that this project was tested with, to the next that may change its interface.
DEMO = [
    "datasets>=5.2,<6",  # reads GLUE, CSV and JSON, and caches what the tokenizer made of them
    "scikit-learn>=1.9,<2",  # metrics, and all that a report counts
    "scipy>=1.17,<2",  # Pearson and Spearman correlation
    "tensorboardX>=2.6,<3",  # event files without TensorFlow
    "rich>=14,<16",  # the table at the end of a run
    "matplotlib>=3.10,<4",  # learning curves, and the pictures of a report
]
DEEPSPEED = ["deepspeed>=0.19,<0.20"]  # optimizer state, gradients and parameters shared out (ZeRO)
EXPORT = [  # what torch.onnx.export needs, and what runs the files
    "onnx>=1.23,<2",
    "onnxscript>=0.7,<0.8",
    "onnxruntime>=1.32,<2",
]
SERVE = [
    "fastapi>=0.165,<0.180",  # routes, and their description as OpenAPI; a minor version may change its interface
    "uvicorn>=0.54,<0.60",  # speaks HTTP; the same
    "prometheus-client>=0.26,<0.30",  # the format of /metrics
]
QUANTIZED = ["bitsandbytes>=0.50,<0.60"]  # weights of 4 and 8 bits, optimizers of 8; a minor version may change it
SEARCH = ["optuna>=5,<6"]  # hyper-parameters: scripts/search.py, Trainer.hyperparameter_search
RAY = ["ray[tune]>=2.60,<3"]  # the same on a cluster; 240 MB, so nothing else asks for it
DOCS = [
    "zensical>=0.0.73,<0.1",  # makes the site of docs/; mkdocs.yml says why this one
    "griffelib>=2.4,<3",  # reads docstrings for the site's reference
]
DEV = [
    *DEMO,
    *DEEPSPEED,
    *EXPORT,
    *SERVE,
    *QUANTIZED,
    *SEARCH,
    *DOCS,
    "httpx>=0.28,<0.29",  # asks the server in its tests
    "hypothesis>=6.170,<7",  # tests whose inputs are made up
    "mypy>=2.4,<3",  # types
    "py-rattler>=0.28,<0.40",  # reads environment.yml as conda does
    "pytest>=9,<10",  # runs the tests
    "seqeval==1.2.2",  # the oracle for entities' scores, of 2020 and no longer kept, so run_ner.py counts by itself
    "ruff>=0.15,<0.20",  # style, import order, docstrings
    "pytest-xdist>=3.8,<4",  # on all cores
    "sentencepiece==0.2.3",  # the oracle for DeBERTa's tokenizer; its scores at the margin are the version's
    "types-psutil",  # types for mypy
    "types-tqdm",
]

setup(
    name="transformers",
    version=VERSION,
    description="RoBERTa and DeBERTa-V2 with LoRA built in: microsoft/LoRA's fork of Transformers, written anew",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={
        "transformers": ["py.typed"],
        "transformers.kernels": ["*.cpp", "*.h"],
        "transformers.serving": ["page.html"],
    },
    install_requires=[
        "accelerate>=1.15,<2",  # devices, precision, several processes
        "huggingface_hub>=2.4,<3",  # downloads, cache, sharded files
        "loralib>=0.1.2,<0.2",  # the LoRA layer
        "numpy>=2,<3",
        "packaging>=24",  # compares versions
        "safetensors>=0.8,<0.9",  # tensors on disk that cannot run code
        "tokenizers>=0.23.3,<0.24",  # tokenization in Rust; 0.23.1 and 0.23.2 lose what truncation cuts off
        "torch==2.13.*",
        "tqdm>=4.67,<5",  # progress bars
    ],
    entry_points={"console_scripts": ["transformers-cli = transformers.commands.transformers_cli:main"]},
    extras_require={
        "demo": DEMO,
        "dev": DEV,
        "deepspeed": DEEPSPEED,
        "docs": DOCS,
        "export": EXPORT,
        "quantized": QUANTIZED,
        "ray": RAY,
        "search": SEARCH,
        "serve": SERVE,
    },
)
