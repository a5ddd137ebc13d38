"""A short form of every scenario on a real service; and that the checks fail when the service would have been wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from benchmarks import reliability
from benchmarks.reliability import page
from benchmarks.reliability.oracle import Timeline
from benchmarks.reliability.play import Played, play
from benchmarks.reliability.scenarios import SCENARIOS
from benchmarks.reliability.stage import GOOD
from benchmarks.reliability.verdict import judge
from benchmarks.reliability.village import made

pytestmark = [pytest.mark.slow, pytest.mark.stack]
SECONDS, PER_SECOND = 2.5, 60.0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("village") / "home"
    made(folder).close()
    return folder


@pytest.fixture(scope="module")
def soaked(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play("soak", base, tmp_path_factory.mktemp("soaked") / "soak", SECONDS, PER_SECOND)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "soak"])
def test_its_promises_are_held(name: str, base: Path, tmp_path: Path) -> None:
    played = play(name, base, tmp_path / name, SECONDS, PER_SECOND)
    assert [promise for promise in played.facts["promises"] if not promise["held"]] == []
    assert played.facts["answers"] > 0
    page.plot(tmp_path / "out", name, played)
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_soak_is_shown(soaked: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soaked.facts["held"], soaked.facts["promises"]
    assert soaked.facts["failures"] == 0
    facts = {"soak": soaked.facts}
    page.write(tmp_path, facts)
    assert "all held" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))["soak"]["wrong"] == 0
    reliability.show(facts)
    assert "soak" in capsys.readouterr().out


def broken(played: Played) -> list[str]:
    """The promises that are broken when the run is judged again."""
    return [one.what for one in judge(played.run, played.oracle, played.written).promises if not one.held]


def other_expectation(played: Played) -> Played:
    """The client believes that it asked something else the third time."""
    first = next(one for one in played.run.records if b'"override":""' in one.body and b'"champion"' in one.body)
    asked = [list(one) for one in played.run.asked[GOOD]]
    asked[first.payload] = [b'{"recent":["22423"],"k":3}']
    return played._replace(run=played.run._replace(asked={GOOD: asked}))


def line_gone(played: Played) -> Played:
    return played._replace(written=played.written[1:])


def line_twice(played: Played) -> Played:
    return played._replace(written=[*played.written, played.written[0]])


def other_decision(played: Played) -> Played:
    line = msgspec.structs.replace(played.written[0], decision={"items": ["not what was said"]})
    return played._replace(written=[line, *played.written[1:]])


def other_arms(played: Played) -> Played:
    """Another salt deals other arms."""
    change = played.run.timeline.changes[0]
    plan = msgspec.structs.replace(change.plan, salt="another")
    return played._replace(run=played.run._replace(timeline=Timeline([change._replace(plan=plan)])))


def other_revision(played: Played) -> Played:
    change = played.run.timeline.changes[0]
    plan = msgspec.structs.replace(change.plan, revision=change.plan.revision + 1)
    return played._replace(run=played.run._replace(timeline=Timeline([change._replace(plan=plan)])))


def error_outside(played: Played) -> Played:
    first = msgspec.structs.replace(played.run.records[0], status=503, retry_after="1", body=b"{}")
    return played._replace(run=played.run._replace(records=[first, *played.run.records[1:]]))


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (other_expectation, "no wrong answer"),
        (other_arms, "no wrong answer"),
        (other_revision, "no wrong answer"),
        (line_gone, "each acknowledged answer is in the journal, once, as replied"),
        (line_twice, "each acknowledged answer is in the journal, once, as replied"),
        (other_decision, "each acknowledged answer is in the journal, once, as replied"),
        (error_outside, "errors and fallbacks only where stated"),
    ],
)
def test_a_fault_that_was_planted_is_seen(fault: Callable[[Played], Played], promise: str, soaked: Played) -> None:
    assert broken(soaked) == []
    assert broken(fault(soaked)) == [promise]
