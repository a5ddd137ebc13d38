"""The benchmark's own arithmetic is the guard's, on samples; and a small, seeded form of what it shows."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from benchmarks import judging, questions
from benchmarks.judging import delay, judges, late, level, looks, ratio, rows, swing
from benchmarks.judging.judges import ANSWERS, BEFORE, FIXED, OURS, THRESHOLD
from benchmarks.judging.world import SLOTS_A_DAY, WINDOW, Draw, World, chunks, draw
from checks import later, sequential, tallies
from checks.assignment import BUCKETS
from checks.later import Starts
from records import Counter

SMALL = World(a_day=200, days=6, subjects=500, steps=((0.0, 0.1), (2.04, 0.5)))


def drawn(world: World, runs: int = 3) -> Draw:
    return draw(world, runs, np.random.default_rng(11))


def compared(counted: list[Counter], *, window: float = 0.0) -> tallies.Comparison:
    """What the guard concludes of these rows."""
    plan = swing.begun()
    who, rollout = tallies.sides(plan), swing.rollout()
    assert who is not None
    gates = structs.replace(rollout.gates, attribution_seconds=window)
    return tallies.compare(counted, who, structs.replace(rollout, gates=gates))


def near(first: float, second: float) -> bool:
    return first == second or abs(first - second) < 1e-9 * max(1.0, abs(first))


def test_it_is_a_question_of_the_command_line() -> None:
    assert "judging" in questions()


@pytest.mark.parametrize(
    "world", [SMALL, replace(SMALL, shared=1.0), replace(SMALL, rate=0.1)], ids=["", "agree", "rare"]
)
def test_paired_looks_are_the_guards_own(world: World) -> None:
    one = drawn(world)
    seen = looks.paired(one)
    low, high = judges.ends(OURS, seen)
    spoken = 0
    for run in range(one.runs):
        for at in np.linspace(30, int(seen.matured[run].max()) - 1, 6).astype(int):
            guard = compared(rows.pairs(one, run, float(np.nextafter(seen.time[run, at], inf))))
            assert guard.matured == seen.matured[run, at]
            assert near(guard.effect.low, low[run, at])
            assert near(guard.effect.high, high[run, at])
            if np.isfinite(guard.effect.low) and np.isfinite(high[run, at]):
                here = delay.effect_at(seen, (low, high), run, int(at))
                assert here.variance == pytest.approx(guard.effect.variance)
                assert here.least == pytest.approx(guard.effect.least)
                spoken += 1
    assert spoken > 3


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("hasty", [False, True])
def test_split_looks_are_the_guards_own(closed: bool, hasty: bool) -> None:
    """A slot is the guard's hour; the attribution window is as long as a label may take."""
    one = drawn(replace(SMALL, closed=closed, misses_wait=hasty), 2)
    seen = looks.split(one)
    low, high = judges.ends(OURS, seen)
    spoken = 0
    for run in range(one.runs):
        for look in (3, 20, 24, 25, 40, 71):
            guard = compared(rows.split(one, run, look + 1.0), window=3600.0 * WINDOW if closed else 0.0)
            assert guard.matured == seen.matured[run, look]
            assert near(guard.effect.low, low[run, look])
            assert near(guard.effect.high, high[run, look])
            spoken += np.isfinite(high[run, look])
    assert spoken > 3


def test_the_multiplier_and_the_ratio_check_are_the_guards_own() -> None:
    for size in (1.0, 60.0, 2000.0, 1e6):
        many = looks.multiplier(np.array([size]), judges.ALPHA, judges.TUNED_AT)
        assert many[0] == pytest.approx(sequential.multiplier(size, judges.ALPHA, judges.TUNED_AT))
    wrong = drawn(replace(SMALL, tail=inf, steps=((0.0, 0.5),)))
    assert (ratio.first_alarm(wrong, 0.1) >= 0).all()
    assert (ratio.first_alarm(wrong, 0.5) == -1).all()


@pytest.mark.parametrize("form", ["paired", "split", "split, its hours closed"])
def test_later_comparisons_are_the_guards_own(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is begun by the guard's own code at the look at which the benchmark begins it, and has the same upper end."""
    often = 150.0
    monkeypatch.setattr(tallies, "tuned_at", lambda _: often)
    form, closed = form[:6].strip(","), "closed" in form
    one = drawn(replace(SMALL, closed=closed, misses_wait=closed, prompt=0.2), 2)
    plan = swing.begun()
    gates = structs.replace(swing.rollout().gates, attribution_seconds=3600.0 * WINDOW if closed else 0.0)
    plan = structs.replace(plan, rollout=structs.replace(swing.rollout(), gates=gates))
    who, paired = tallies.sides(plan), form == "paired"
    assert who is not None
    assert plan.rollout is not None
    counted = rows.pairs if paired else rows.split
    seen, parts = judges.FORMS[form](one), list(late.parts(one, form, often))
    tops = {part.number: late.highest(one, form, part, often) for part in parts}
    looked = [
        look for look in range(seen.time.shape[1]) if not paired or (look + 1) % int(often) == 0 or look % 97 == 0
    ]
    spoken = 0
    for run in range(one.runs):
        starts = Starts().after(plan, [])
        for look in looked:
            until = float(np.nextafter(seen.time[run, look], inf)) if paired else look + 1.0
            if until > one.world.slots:
                break
            before, now = starts.kept, counted(one, run, until)
            starts = starts.after(plan, now)
            for start in (kept for kept in before if kept in starts.kept):
                own = structs.replace(gates, alpha=later.rate(start.number, judges.ALPHA))
                guard = tallies.compare(start.since(now), who, structs.replace(plan.rollout, gates=own))
                assert near(guard.effect.high, tops[start.number][run, look])
                spoken += np.isfinite(guard.effect.high)
    assert spoken > 10


def test_later_comparisons_find_a_fall_after_a_good_time_and_hold_the_rate() -> None:
    fallen = replace(
        judging.CALM, a_day=800, subjects=4000, days=8, effect=-0.15, swing=0.15, swing_days=4, steps=((0.0, 0.25),)
    )
    said = late.said(fallen, 10, 3, tuned_at=500.0, fell=4.0 * SLOTS_A_DAY)["paired"]
    assert said[late.BESIDE]["never"] == 0
    assert said[late.BESIDE]["answers"][0] < said[late.ALONE]["answers"][0]
    for one in late.alarms({"at the margin": judging.AT_MARGIN, "its hits are known at once": judging.PROMPT}, 20, 3):
        assert one["drops"][1] <= 0.05  # the low end of its interval


def test_ours_holds_its_rate_where_the_others_do_not() -> None:
    """At the margin, where false alarms are likeliest: subjects return, labels are late, every tick is looked at."""
    said = judges.alarms(judging.AT_MARGIN, 60, 3)
    for form in said.values():
        assert form[OURS]["excluded"][0] <= 0.05
        assert form[ANSWERS]["excluded"][1] > 0.05  # even the low end of the interval is above the stated rate
        assert form[FIXED]["excluded"][1] > 0.05
        assert form[THRESHOLD]["drops"][0] > 0.5


def test_arms_that_agree_passed_too_early_before() -> None:
    said = judges.alarms(judging.OTHERS["arms that agree"], 60, 3, ["paired"])["paired"]
    assert said[OURS]["passes"][0] <= 0.05
    assert said[BEFORE]["passes"][1] > 0.05


def test_a_kpi_that_swings_does_not_make_the_guard_swing() -> None:
    world = replace(judging.CALM, a_day=400, days=8, swing=0.5)
    row = swing.row(world, 2, 3)
    assert row["changes_most"] <= 2
    assert row["rollbacks_most"] <= 1
    assert row["after_rollback"] == 0
    assert row["threshold_mean"] >= 4


def test_a_bad_week_is_no_fall_of_both_and_half_of_it_gone_is() -> None:
    worlds = {**level.QUIET, **level.FALLEN}
    said = {
        name: level.row(name, worlds[name], 20, 1)
        for name in ("weeks that differ by 15 %", "both 50 % lower", "the champion alone, 30 % lower")
    }
    assert [one["said"][0] for one in said.values()] == [0.0, 1.0, 0.0]
    assert said["both 50 % lower"]["days"][1] <= 14


def test_an_interval_of_nothing_and_of_all() -> None:
    assert judges.share(0, 50)[:2] == [0.0, 0.0]
    assert judges.share(50, 50)[2] == 1.0
    low, high = judges.share(5, 100)[1:]
    assert (low, high) == pytest.approx((0.01643, 0.11283), abs=1e-4)  # Clopper and Pearson's table


def test_runs_do_not_depend_on_how_many_there_are() -> None:
    few, many = (next(iter(chunks(SMALL, runs, 5))) for runs in (20, 40))
    assert np.array_equal(few.arm, many.arm)
    assert few.bucket.max() < BUCKETS


def test_the_command_prints_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a handful of runs of a short and quiet world: figures mean nothing, tables and pictures are whole."""
    tiny = replace(SMALL, a_day=60, days=4)
    for name in ("EQUAL", "CALM"):
        monkeypatch.setattr(judging, name, tiny)
    for name in ("MAIN", "OTHERS", "LABELS"):
        monkeypatch.setattr(judging, name, dict.fromkeys(getattr(judging, name), tiny))
    monkeypatch.setattr(delay, "TRAFFIC", (100,))
    monkeypatch.setattr(ratio, "BUSY", 100)
    monkeypatch.setattr(late, "A_DAY", 100)
    monkeypatch.setattr(late, "GOOD_DAYS", (1, 2))
    judging.main(["--runs", "2", "--pictures", str(tmp_path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["main"]["equal arms"]["split"][OURS]["runs"] == 2
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        f"judging_{name}.png" for name in ("alarms", "delay", "late", "ratio", "swing")
    ]
    judging.show(facts)
    shown = capsys.readouterr().out
    for said in ("excluded the truth", "planned", "threshold: mean", "alarmed", "begin later", "after a good time"):
        assert said in shown


def test_no_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        judging.main(["--runs", "0"])
    assert "--runs: expected 1 or more" in capsys.readouterr().err
