"""Figures by segment as facts and as a table."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmarks.quality import _segments


def test_by_segment_by_eye(capsys: pytest.CaptureFixture[str]) -> None:
    values = pd.Series([1.0] * 4 + [0.5] * 4 + [0.2], index=[f"s{at}" for at in range(9)])
    segments = pd.DataFrame({"country": ["home"] * 4 + ["abroad"] * 4 + ["moon"]}, index=values.index)
    facts = _segments.by_segment(values, segments, "accuracy", min_rows=2)
    assert facts["count"] == 9
    assert {row["name"]: row["mean"] for row in facts["rows"]} == {"home": 1.0, "abroad": 0.5}
    assert facts["small"] == [{"kind": "country", "name": "moon", "count": 1}]
    assert json.loads(json.dumps(facts)) == facts
    from rich.console import Console

    Console(width=120).print(_segments.table(facts))
    printed = capsys.readouterr().out
    assert "too few to judge" in printed
    assert "accuracy" in printed
