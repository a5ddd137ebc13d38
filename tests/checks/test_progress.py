"""How far a rollout is, from plans and verdicts made by hand: part done, sample and time still needed, who must act."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from checks.case import Memory, Trends
from checks.plans import initial
from checks.progress import ACTS, BY_HAND, WEAK_AGREEMENT, progress
from checks.tallies import Tally, sample_needed
from records import GuardVerdict, ReleasePlan, Rollout, Step
from tests.stores.ledger.world import GATES, MODEL, NOON, arm

STEPS = tuple(
    Step(percent=percent, min_seconds=600, min_answers=answers)
    for percent, answers in ((0.0, 200), (5.0, 500), (50.0, 1000), (100.0, 0))
)
ROLLOUT = Rollout(steps=STEPS, gates=GATES, control_percent=2.0)
SALT = "salt-3"


def plan(**changes: Any) -> ReleasePlan:
    """Version 3 at the second of four steps since noon."""
    base = replace(
        initial(MODEL, NOON),
        revision=7,
        mode="model",
        champion=arm(2),
        canary=arm(3),
        canary_percent=5.0,
        rollout=ROLLOUT,
        step=1,
        step_started_at=NOON,
        salt=SALT,
    )
    return replace(base, **changes)


def verdict(state: str = "undecided", *, matured: int = 100, seconds: float = 300, **changes: Any) -> GuardVerdict:
    """What the guard said so many seconds into the step, in which so many answers had matured."""
    at = NOON + timedelta(seconds=seconds)
    memory = Memory(
        salt=SALT,
        role="canary",
        step=1,
        started_at=NOON,
        base=Tally(),
        own=Trends(),
        control=Trends(),
        matured=matured,
        progressed_at=at,
    )
    inputs = {
        "state": state,
        "form": "paired",
        "control_kpi": 0.3,
        "in_step": Tally(answers=2 * matured, matured=matured),
        "memory": memory,
    }
    made = GuardVerdict(
        id="v",
        model=MODEL,
        arm="canary",
        version=3,
        revision=7,
        kpi="inconclusive",
        action="none",
        reason="too wide to decide",
        effect=0.01,
        low=-0.04,
        high=0.06,
        matured=matured + 50,
        needed=300,
        inputs=dict(msgspec.json.decode(msgspec.json.encode(inputs))),
        at=at,
    )
    return replace(made, **changes)


def test_time_and_sample_still_needed_at_the_pace_of_the_step() -> None:
    found = progress(plan(), verdict(), NOON + timedelta(seconds=400))
    assert (found.needed, found.running) == (300, True)
    assert found.seconds == pytest.approx(900)  # 100 answers in 300 s
    # a third of the way is done, and of this step a quarter of the sample, which is behind its time
    assert found.percent == pytest.approx(100 * (1 + 0.25) / 3)


def test_the_steps_own_time_counts_where_the_sample_is_there() -> None:
    found = progress(plan(), verdict("waiting", needed=0), NOON + timedelta(seconds=400))
    assert (found.needed, found.seconds) == (0, 200)
    assert found.percent == pytest.approx(100 * (1 + 400 / 600) / 3)


def test_without_answers_nobody_says_how_long_it_takes() -> None:
    found = progress(plan(), verdict(matured=0), NOON + timedelta(seconds=400))
    assert (found.needed, found.seconds) == (300, None)
    assert found.percent == pytest.approx(100 / 3)
    assert progress(plan(), None, NOON).needed is None


@pytest.mark.parametrize(("form", "agreement", "arms"), [("paired", WEAK_AGREEMENT, 1), ("split", None, 2)])
def test_before_the_guard_can_say_it_the_sample_is_what_was_planned(
    form: str, agreement: float | None, arms: int
) -> None:
    early = verdict(needed=None)
    early.inputs["form"] = form
    whole = sample_needed(ROLLOUT, 0.3, agreement)
    assert whole is not None
    assert progress(plan(), early, NOON).needed == max(whole * arms - early.matured, 400)
    early.inputs["control_kpi"] = None
    assert progress(plan(), early, NOON).needed is None


def test_a_shadow_that_is_not_judged_in_pairs_needs_what_its_step_asks_for() -> None:
    shadow = verdict("waiting", needed=None, matured=50)
    shadow.inputs["form"] = "split"
    found = progress(plan(step=0, canary_percent=0.0), shadow, NOON + timedelta(seconds=300))
    assert (found.needed, found.seconds) == (150, 900)
    assert found.percent == pytest.approx(100 * 0.25 / 3)


def test_a_verdict_on_the_step_before_tells_of_the_sample_and_not_of_the_pace() -> None:
    found = progress(plan(), verdict("ready", revision=6), NOON)
    assert (found.verdict, found.needed, found.seconds) == (verdict("ready", revision=6), 300, None)
    assert "has not judged this step" in found.acts


def test_a_verdict_on_another_rollout_counts_for_nothing() -> None:
    found = progress(plan(salt="salt-4"), verdict(), NOON)
    assert (found.verdict, found.needed) == (None, None)


@pytest.mark.parametrize("state", sorted(ACTS))
def test_each_state_of_the_guard_names_who_acts(state: str) -> None:
    assert progress(plan(), verdict(state, action="rollback"), NOON).acts == ACTS[state]


@pytest.mark.parametrize("state", ["errors", "late"])
def test_what_the_guard_leaves_alone_is_for_people(state: str) -> None:
    assert progress(plan(), verdict(state), NOON).acts == BY_HAND


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hold": True}, "resume"),
        ({"frozen": True}, "unfreeze"),
        ({"frozen": True, "frozen_for": "drift"}, "the guard lifts the freeze"),
        ({"mode": "rules", "canary": None}, "restore"),
        ({"mode": "rules", "canary": None, "frozen": True}, "restore"),
    ],
)
def test_what_people_said_comes_before_what_the_guard_found(changes: dict[str, Any], words: str) -> None:
    assert words in progress(plan(**changes), verdict(), NOON).acts


def test_without_a_canary_it_is_done_or_not_begun() -> None:
    promoted = plan(champion=arm(3), canary=None, canary_percent=0.0, control=arm(2), control_percent=2.0, step=3)
    found = progress(promoted, None, NOON)
    assert (found.percent, found.needed, found.running, found.acts) == (100.0, None, False, ACTS["watching"])
    idle = progress(initial(MODEL, NOON), None, NOON)
    assert (idle.percent, idle.acts) == (0.0, "nobody")
