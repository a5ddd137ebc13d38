"""The report of made-up repeats: what is in it, and that a limit that was exceeded ends the command with 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import drill, questions
from benchmarks.drill import page, sittings
from benchmarks.drill.measures import Repeat
from benchmarks.drill.sittings import Asked
from tests.benchmarks.drill.test_measures import GOOD

NAMES = ("errors", "dead_mlflow", "lower_ctr")


def facts(folder: Path, *repeats: Repeat) -> dict[str, Any]:
    made = sittings.new(folder, Asked(faults=NAMES, repeats=1, per_second=60.0, flows=True))
    with made.sitting():
        for one in repeats:
            made.ended(one)
    found = made.facts()
    page.write(folder, found)
    return found


HELD = (
    GOOD,
    replace(GOOD, number=2, restored=4.5, notes={"incident": "errors"}),
    replace(GOOD, fault="dead_mlflow", detected=None, decided=None, switched=None, restored=0.0, switch_seconds=()),
    replace(GOOD, fault="lower_ctr", sample=900, printed=2000),
)


def test_a_drill_within_its_limits_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drill.report(facts(tmp_path, *HELD), tmp_path, as_json=False)
    shown = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "every limit held</h1>" in shown
    assert "none to make" in shown
    assert "900 / 900 of 2000" in shown
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert kept["faults"]["errors"]["moments"]["restored"]["max"] == 4.5
    said = capsys.readouterr().out
    assert "lower_ctr" in said
    assert "NO" not in said


def test_a_drill_that_exceeds_a_limit_fails_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = replace(GOOD, number=3, restored=31.0)
    with pytest.raises(SystemExit) as left:
        drill.report(facts(tmp_path, *HELD, late), tmp_path, as_json=False)
    assert left.value.code == 1
    assert "errors 3: restored after 31.0 s, the limit is 30 s" in capsys.readouterr().out
    assert "a limit was exceeded" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drill.report(facts(tmp_path, *HELD), tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["held"] is True


def test_it_is_a_question_too() -> None:
    assert "drill" in questions()
