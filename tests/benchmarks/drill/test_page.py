"""The report of made-up repeats: what is in it, and that a limit that was exceeded ends the command with 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import drill, questions
from benchmarks.drill.faults import FAULTS
from benchmarks.drill.measures import Repeat, summary
from tests.benchmarks.drill.test_measures import GOOD

NAMES = ("errors", "dead_mlflow", "lower_ctr")


def facts(*repeats: Repeat) -> dict[str, Any]:
    found = {
        name: {"what": f"What {name} is.", **summary([one for one in repeats if one.fault == name], FAULTS[name].limit)}
        for name in NAMES
    }
    return {
        "began": "2026-11-22T15:00:00+00:00", "minutes": 3.0, "cores": 2, "load_1_5_15": [1.0, 1.0, 1.0], "per_second": 60.0,
        "flows": True, "faults": found, "held": not any(one["exceeded"] for one in found.values()),
    }  # fmt: skip


HELD = (
    GOOD,
    replace(GOOD, number=2, restored=4.5, notes={"incident": "errors"}),
    replace(GOOD, fault="dead_mlflow", detected=None, decided=None, switched=None, restored=0.0, switch_seconds=()),
    replace(GOOD, fault="lower_ctr", sample=900, printed=2000),
)


def test_a_drill_within_its_limits_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drill.report(facts(*HELD), tmp_path / "out", as_json=False)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "every limit held" in page
    assert "none to make" in page
    assert "900 / 900 of 2000" in page
    assert (tmp_path / "out" / "timeline.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "out" / "facts.json").read_text(encoding="utf-8"))
    assert kept["faults"]["errors"]["moments"]["restored"]["max"] == 4.5
    said = capsys.readouterr().out
    assert "lower_ctr" in said
    assert "NO" not in said


def test_a_drill_that_exceeds_a_limit_fails_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = replace(GOOD, number=3, restored=31.0)
    with pytest.raises(SystemExit) as left:
        drill.report(facts(*HELD, late), tmp_path, as_json=False)
    assert left.value.code == 1
    assert "errors 3: restored after 31.0 s, the limit is 30 s" in capsys.readouterr().out
    assert "a limit was exceeded" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drill.report(facts(*HELD), tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["held"] is True


def test_it_is_a_question_too() -> None:
    assert "drill" in questions()
