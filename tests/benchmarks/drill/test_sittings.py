"""A drill in several sittings: what each repeat leaves on disk, going on, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks import drill
from benchmarks.drill import page
from benchmarks.drill.sittings import Asked, Drill, alone, code, new, read, resumed
from errors import StackError, UsageError
from tests.benchmarks.drill.test_measures import GOOD

ASKED = Asked(faults=("errors", "dead_mlflow"), repeats=2, per_second=60.0, flows=True)
QUIET = replace(GOOD, fault="dead_mlflow", switched=None, restored=0.0, switch_seconds=())


def begun(folder: Path) -> Drill:
    """A drill with one repeat, killed during the second."""
    with alone(folder):
        made = new(folder, ASKED)
        with suppress(SystemExit), made.sitting():
            made.begins("errors", 1)
            made.ended(GOOD)
            made.begins("errors", 2)
            raise SystemExit(143)
    return made


def test_every_repeat_is_on_disk_when_it_ends(tmp_path: Path) -> None:
    made = new(tmp_path, ASKED)
    with made.sitting():
        made.begins("errors", 1)
        assert read(tmp_path).sittings[-1].playing == "errors 1"
        made.ended(GOOD)
        kept = read(tmp_path)
        assert kept.played == {"errors": [GOOD], "dead_mlflow": []}
        assert kept.left() == [("errors", 2), ("dead_mlflow", 1), ("dead_mlflow", 2)]
        assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]  # no draft is left


def test_a_process_that_is_killed_leaves_what_it_had(tmp_path: Path) -> None:
    if not (child := os.fork()):
        try:
            made = new(tmp_path, ASKED)
            with made.sitting():
                made.begins("errors", 1)
                made.ended(GOOD)
                made.begins("errors", 2)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (tmp_path / "home-abc" / "home").mkdir(parents=True)  # of its stack
    with alone(tmp_path):
        assert not (tmp_path / "home-abc").exists()
    kept = read(tmp_path)
    assert (kept.played["errors"], kept.sittings[0].playing, kept.sittings[0].repeats) == ([GOOD], "errors 2", 1)


def test_a_drill_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    begun(tmp_path)
    with alone(tmp_path):
        again = resumed(tmp_path, {})
        with again.sitting() as second:
            for name, number in again.left():
                again.begins(name, number)
                again.ended(replace(GOOD if name == "errors" else QUIET, number=number))
            second.whole = True
    facts = again.facts()
    assert facts["complete"]
    assert facts["held"]
    assert [(one["number"], one["sitting"]) for one in facts["faults"]["errors"]["each"]] == [(1, 1), (2, 2)]
    assert [one["repeats"] for one in facts["sittings"]] == [1, 3]
    assert facts["faults"]["errors"]["moments"]["restored"]["times"] == 2
    page.write(tmp_path, facts)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "every limit held</h1>" in text
    assert "stopped during errors 2" in text
    assert ">in order<" in text


def test_a_drill_that_is_not_complete_has_not_held(tmp_path: Path) -> None:
    facts = begun(tmp_path).facts()
    assert not facts["complete"]
    assert not facts["held"]
    page.write(tmp_path, facts)
    assert "not complete; every limit held so far" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_sitting_that_failed_is_not_made_good_by_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = new(tmp_path, replace(ASKED, faults=("errors",), repeats=1))
    with suppress(StackError), made.sitting():
        made.begins("errors", 1)
        raise StackError("the plan of recommendation", expected="version 1 alone", got="rules")
    again = resumed(tmp_path, {})
    with again.sitting():
        again.ended(GOOD)
    facts = again.facts()
    assert facts["complete"]
    assert not facts["held"]
    with pytest.raises(SystemExit):
        drill.report(facts, tmp_path, as_json=False)
    assert "sitting 1: errors 1: StackError: the plan of recommendation" in capsys.readouterr().out
    page.write(tmp_path, facts)
    assert "a sitting did not end well" in (tmp_path / "index.html").read_text(encoding="utf-8")


class TestRefused:
    def test_a_new_drill_in_the_folder_of_another(self, tmp_path: Path) -> None:
        begun(tmp_path)
        with pytest.raises(UsageError, match="go on with --resume"):
            new(tmp_path, ASKED)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--rate", "40"], "per_second: expected 60.0, got 40.0"),
            (["slow"], "faults: expected"),
            (["--without-flows"], "flows: expected True, got False"),
        ],
    )
    def test_another_rate_other_faults_another_stack(self, tmp_path: Path, options: list[str], said: str) -> None:
        begun(tmp_path)
        with pytest.raises(UsageError, match=said):
            drill.main([*options, "--resume", str(tmp_path)])

    def test_other_code(self, tmp_path: Path) -> None:
        facts = begun(tmp_path).facts()
        (tmp_path / "facts.json").write_text(json.dumps({**facts, "code": "0" * 64}), encoding="utf-8")
        with pytest.raises(UsageError, match=r"code: expected 000000000000 .*in a clone of that commit"):
            drill.main(["--resume", str(tmp_path)])

    def test_code_that_changes_while_it_is_drilled(self, tmp_path: Path) -> None:
        made = new(tmp_path, ASKED)
        made.code = "0" * 64
        with made.sitting(), pytest.raises(StackError, match="drill a clone"):
            made.ended(GOOD)
        assert read(tmp_path).played["errors"] == []

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"asked": {"faults": ["errors"]}}', '{"asked": null}'])
    def test_a_file_no_drill_wrote(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "facts.json").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"a facts\.json that a drill wrote"):
            read(tmp_path)

    def test_a_folder_without_a_drill(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file"):
            drill.main(["--resume", str(tmp_path)])
        with pytest.raises(UsageError, match="a folder to write to"):
            drill.main(["--resume", str(tmp_path / "away")])
        assert not (tmp_path / "away").exists()

    def test_a_file_for_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for option in ("--out", "--resume"):
            with pytest.raises(UsageError, match="a folder"):
                drill.main([option, str(tmp_path / "file")])

    def test_fewer_repeats_than_were_played(self, tmp_path: Path) -> None:
        begun(tmp_path)
        with alone(tmp_path):
            again = resumed(tmp_path, {})
            with again.sitting():
                again.ended(replace(GOOD, number=2))
        with pytest.raises(UsageError, match="at least the 2 played, got 1"):
            drill.main(["--resume", str(tmp_path), "--repeats", "1"])

    def test_two_at_once(self, tmp_path: Path) -> None:
        with alone(tmp_path), pytest.raises(UsageError, match="no other drill"), alone(tmp_path):
            pass


def test_code_is_what_is_drilled_and_not_where(tmp_path: Path) -> None:
    for path in ("guard/judge.py", "configs/load.py", "configs/spam.yaml", "requirements.lock", "grownet.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("one", encoding="utf-8")
    before = code(tmp_path)
    for path in ("docs", "tests", ".grownet", "drilled/home-1/code/models"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "spam.py").write_text("more", encoding="utf-8")
    assert code(tmp_path) == before
    for path in ("guard/judge.py", "configs/spam.yaml", "requirements.lock", "grownet.py"):
        (tmp_path / path).write_text("two", encoding="utf-8")
        assert code(tmp_path) != before
        (tmp_path / path).write_text("one", encoding="utf-8")


def test_more_repeats_may_be_asked_for_and_what_is_complete_is_only_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path)
    assert len(resumed(tmp_path, {"repeats": 20}).left()) == 39
    (tmp_path / "whole").mkdir()
    made = new(tmp_path / "whole", replace(ASKED, faults=("errors",), repeats=1))
    with made.sitting():
        made.ended(GOOD)
    drill.main(["--resume", str(tmp_path / "whole"), "--json"])
    assert json.loads(capsys.readouterr().out)["held"] is True
    assert (tmp_path / "whole" / "index.html").exists()


@pytest.mark.parametrize(
    "options", [["--repeats", "0"], ["--rate", "nan"], ["--rate", "-1"], ["--out", "a", "--resume", "b"]]
)
def test_numbers_that_are_none_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        drill.main(options)
    assert left.value.code == 2
