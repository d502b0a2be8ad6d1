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
        names = ["texts-2-2", "texts-20-3", "names", "answers", "none"]
        text = "the film <b>was</b> good"
        shown = page(server.url, tmp_path, adapters=",".join(names), text=text, second="what was good?")
        assert 'data-done="yes"' in shown
        cards = re.findall(r'<article class="card"><h2>(.*?)</h2>(.*?)</article>', shown, re.DOTALL)
        assert sorted(name for name, _ in cards) == sorted(names)
        found = dict(cards)
        for name in ("texts-2-2", "texts-20-3"):
            scores = server.outputs(name, {"text": text, "text_pair": "what was good?"}, top_k=None)
            bars = re.findall(r'class="label">(.*?)</span><span>(.*?) %</span>.*?width: ([\d.]+)%', found[name])
            assert [label for label, _, _ in bars] == [each["label"] for each in scores]
            for (_, percent, width), each in zip(bars, scores, strict=True):
                assert float(percent) == pytest.approx(100 * each["score"], abs=0.051)
                assert float(width) == pytest.approx(100 * each["score"], abs=0.01)
        assert "12 more" in found["texts-20-3"]
        assert "<mark>" in found["names"]
        answer = server.outputs("answers", {"question": "what was good?", "context": text})
        assert f'<span class="label">{answer["answer"]}' in found["answers"]
        assert "There is no adapter 'none'" in found["none"]
