"""The command: its pages are whole without the net, its tables and its JSON come from the same figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import drift, questions
from benchmarks.drift import page, quiet, series


def test_it_is_a_question_of_the_command_line() -> None:
    assert "drift" in questions()


def test_an_unknown_series_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        drift.main(["--data", "elec2"])
    assert refused.value.code == 2
    assert "nannyml_california" in capsys.readouterr().err


def test_a_series_gets_a_page_and_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = series.series("nannyml_california")
    short = replace(
        whole, rows=whole.rows.iloc[: whole.grid[38].last], grid=whole.grid[:39], change=whole.grid[36].start
    )
    monkeypatch.setitem(series.MAKERS, "nannyml_california", lambda raw: short)
    drift.main(["--data", "nannyml_california", "--out", str(tmp_path), "--json"])
    facts = json.loads(capsys.readouterr().out)["nannyml_california"]
    assert facts["windows"] == 5
    drift.show(facts)
    assert "flat PSI 0.2" in capsys.readouterr().out
    text = (tmp_path / "nannyml_california.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert not re.findall(r"<script|(?:src|href)=\"(?!#)", text)
    assert "never" in text


def test_quiet_quarters_get_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"a": quiet.figures({rule: np.zeros((3, quiet.WEEKS), dtype=np.bool_) for rule in quiet.RULES})}
    path = page.quiet_page(tmp_path, figures)
    assert "Quiet quarters" in path.read_text(encoding="utf-8")
    drift.show_quiet(figures)
    assert "a test per column" in capsys.readouterr().out
