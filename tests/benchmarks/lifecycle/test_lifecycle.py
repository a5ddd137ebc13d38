"""The benchmark's own arithmetic on made-up runs, what it prints, and that the plain stages are those of the flow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks import lifecycle, questions
from benchmarks.lifecycle import plain
from benchmarks.lifecycle.race import Run
from errors import UsageError

ROOT = Path(__file__).resolve().parents[3]
DATA = Run("orders", "Completed", 21.0, {"find_batches": 1.0, "take_batch": 19.0}, 20.0, 4.0)
MODEL = Run("demand", "Asked", 12.0, {"build_features": 2.0, "train_candidate": 3.0, "judge": 5.0}, 10.0, 5.0)


def test_it_is_a_question_of_the_command_line() -> None:
    assert "lifecycle" in questions()


def test_what_a_flow_adds_is_a_share_of_the_plain_calls() -> None:
    assert lifecycle.row(DATA)["added"] == pytest.approx(0.05)
    found = lifecycle.total([DATA, MODEL])
    assert found["added"] == pytest.approx(0.1)
    assert found["until_trained"] == pytest.approx(25.0)
    assert (found["flow"], found["plain"], found["waited"]) == (33.0, 30.0, 9.0)


def test_every_run_and_the_sum_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [lifecycle.row(DATA), lifecycle.row(MODEL)]
    lifecycle.show(
        {"runs": rows, "total": lifecycle.total([DATA, MODEL]), "peak_bytes": 2**30, "models": ["demand: rules"]}
    )
    shown = capsys.readouterr().out
    for words in ("orders", "demand: rules", "+5%", "+20%", "+10%", "until trained 25 s", "1.00 GB"):
        assert words in shown


def test_an_unknown_model_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lifecycle.main(["nonsense"])
    assert "no such model: nonsense" in capsys.readouterr().err


def test_the_plain_calls_are_the_stages_of_the_flow() -> None:
    """Whoever adds a stage to the flow adds it to the floor; asking people is a run of Prefect and has none."""
    flow = ast.parse((ROOT / "flows" / "lifecycle.py").read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(flow)
        if isinstance(node, ast.ImportFrom) and node.module == "tasks.stages"
        for alias in node.names
    }
    timed = {
        node.args[0].value
        for node in ast.walk(ast.parse(Path(plain.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "watch"
        if isinstance(node.args[0], ast.Constant)
    }
    assert imported - timed == {"accept", "ask_for_release", "start_due", "tell_failure"}


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there yet"):
        lifecycle.main(["demand", "--home", str(tmp_path)])
