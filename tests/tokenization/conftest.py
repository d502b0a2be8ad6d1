"""Small tokenizers, one of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from vocabularies import (
    SENTENCEPIECE_MODELS,
    make_bert_vocabulary,
    make_roberta_vocabulary,
    make_sentencepiece_model,
)

from transformers import BertTokenizer, RobertaTokenizer
from transformers.tokenization.limits import _warned


@pytest.fixture(scope="session")
def roberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_roberta_vocabulary(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert_vocabulary(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session", params=SENTENCEPIECE_MODELS)
def any_deberta_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ``spm.model`` of each kind in turn."""
    return make_sentencepiece_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def deberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sentencepiece_model(tmp_path_factory.mktemp("deberta"))


@pytest.fixture(scope="session")
def byte_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sentencepiece_model(tmp_path_factory.mktemp("bytes"), "bytes")


@pytest.fixture
def roberta(roberta_folder: Path) -> RobertaTokenizer:
    return RobertaTokenizer.from_pretrained(roberta_folder)


@pytest.fixture
def bert(bert_folder: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(bert_folder)


@pytest.fixture(autouse=True)
def _warn_again() -> None:
    """Let each test see warnings that are given once."""
    _warned.clear()
