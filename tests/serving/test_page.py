"""The page, in a headless Chromium: what it shows is what the adapters say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import CHROMIUM, page
from served import running

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium")


def test_adapters_side_by_side(adapters: Path, tmp_path: Path) -> None:
    with running(adapters) as server:
        names = ["texts-2-2", "texts-20-3", "names", "answers", "words", "endings", "vectors", "none"]
        text, second = "the film <b>was</b> [MASK] good", "what was good? | fine"
        shown = page(server.url, tmp_path, adapters=",".join(names), text=text, second=second)
        assert 'data-done="yes"' in shown
        cards = re.findall(r'<article class="card"><h2>(.*?)</h2>(.*?)</article>', shown, re.DOTALL)
        assert sorted(name for name, _ in cards) == sorted(names)
        found = dict(cards)
        for name in ("texts-2-2", "texts-20-3"):
            scores = server.outputs(name, {"text": text, "text_pair": second}, top_k=None)
            bars = re.findall(r'class="label">(.*?)</span><span>(.*?) %</span>.*?width: ([\d.]+)%', found[name])
            assert [label for label, _, _ in bars] == [each["label"] for each in scores]
            for (_, percent, width), each in zip(bars, scores, strict=True):
                assert float(percent) == pytest.approx(100 * each["score"], abs=0.051)
                assert float(width) == pytest.approx(100 * each["score"], abs=0.01)
        assert "12 more" in found["texts-20-3"]
        assert "<mark>" in found["names"]
        answer = server.outputs("answers", {"question": second, "context": text})
        assert f'<span class="label">{answer["answer"]}' in found["answers"]
        words = re.findall(r'class="label">(.*?)</span>', found["words"])
        assert words == [each["token_str"] for each in server.outputs("words", text)]
        choices = server.outputs("endings", {"context": text, "choices": second.split(" | ")})
        assert re.findall(r'class="label">(.*?)</span>', found["endings"]) == [each["choice"] for each in choices]
        vectors = server.outputs("vectors", text)[0]
        assert f"{len(vectors)} tokens" in found["vectors"]
        assert f"{len(vectors[0])} numbers; the first: {vectors[0][0]:.3f}" in found["vectors"]
        assert "There is no adapter 'none'" in found["none"]
