"""What a repeat is measured by, on made-up records; and that whatever exceeds its limit is said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.client.record import Sent
from benchmarks.drill.faults import FAULTS
from benchmarks.drill.measures import (
    Answered,
    Limit,
    Repeat,
    Reply,
    answered,
    exceeded,
    failed_within,
    summary,
    switch,
)
from records import ReleasePlan, ReplicaState
from tests.stores.ledger.world import NOON, arm

WRITTEN = NOON.timestamp()
GOOD = Repeat(
    fault="errors", number=1, detected=1.0, decided=1.5, switched=2.0, restored=2.5, switch_seconds=(0.5,), requests=100
)
LIMIT = Limit(restored=30.0)


def plan(revision: int = 7) -> ReleasePlan:
    return ReleasePlan(
        model="recommendation",
        revision=revision,
        mode="model",
        champion=arm(1),
        reason="r",
        actor="guard",
        created_at=NOON,
    )


def state(replica: str, revision: int, seconds: float, number: int = 1) -> ReplicaState:
    content = arm(number).artifact
    assert content is not None
    return ReplicaState(
        replica=replica, model="recommendation", revision=revision, loaded={"champion": content.content},
        at=NOON + timedelta(seconds=seconds),
    )  # fmt: skip


def answer(revision: int, seconds: float) -> Answered:
    return Answered("good", Reply(revision, "champion", 1, ""), WRITTEN + seconds)


def sent(number: int, status: int = 200, due: float = 0.0, done: float = 1.0) -> Sent:
    body = b'{"revision":7,"arm":"champion","version":1,"override":"","decision":{}}'
    return Sent(number, "good", 0, due, due, done, status, "", "", body)


class TestSwitch:
    def test_the_first_time_a_replica_says_so_counts(self) -> None:
        states = [
            state("one", 7, -1.0),  # before the plan was written: of an earlier life
            state("one", 6, 0.1),
            state("two", 7, 0.2, number=2),  # the revision, and another artifact
            state("one", 7, 0.4),
            state("two", 8, 0.7),
            state("one", 7, 2.4),
        ]
        found = switch(plan(), states, [answer(6, 0.3), answer(7, 0.9)], 2)
        assert {name: round(at - WRITTEN, 3) for name, at in found.followed.items()} == {"one": 0.4, "two": 0.7}
        assert found.seconds == pytest.approx(0.7)

    def test_an_answer_under_the_old_revision_is_no_switch_yet(self) -> None:
        states = [state("one", 7, 0.4), state("two", 7, 0.5)]
        assert switch(plan(), states, [answer(6, 1.8)], 2).seconds == pytest.approx(1.8)
        assert switch(plan(), states, [answer(6, -1.0)], 2).seconds == pytest.approx(0.5)

    def test_a_replica_that_never_follows_has_no_time(self) -> None:
        assert switch(plan(), [state("one", 7, 0.4)], [], 2).seconds is None


def test_answers_are_decoded_and_ordered() -> None:
    no_reply = Sent(4, "good", 0, 0.0, 0.0, 1.0, 200, "", "", b"{}")
    found = answered([sent(1, done=3.0), sent(2, 503), sent(3, done=2.0), no_reply], lambda moment: moment + 10)
    assert [one.at for one in found] == [12.0, 13.0]
    assert found[0].reply == Reply(7, "champion", 1, "")


def test_failures_are_counted_while_they_were_under_way() -> None:
    records = [sent(1, 0, 0.0, 1.0), sent(2, 503, 2.0, 3.0), sent(3, 0, 4.0, 5.0), sent(4, 200, 2.0, 3.0)]
    assert failed_within(records, 0.5, 2.5) == 2
    assert failed_within(records, 3.5, 3.6) == 0


class TestLimits:
    def test_what_holds_says_nothing(self) -> None:
        assert exceeded(GOOD, LIMIT) == []
        quiet = replace(GOOD, decided=None, switched=None, switch_seconds=())
        assert exceeded(quiet, Limit(switches=False)) == []

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"restored": 30.1}, "restored after 30.1 s"),
            ({"restored": None}, "never restored"),
            ({"switched": None}, "never switched"),
            ({"detected": 301.0}, "detected after 301.0 s"),
            ({"switch_seconds": (0.5, 2.01)}, "the switch took 2.01 s"),
            ({"switch_seconds": (None,)}, "a replica never followed"),
            ({"failed": 1, "failed_at": (-0.5,)}, "1 of 100 requests failed"),
            ({"failed_switching": 1}, "1 requests failed during the switch"),
            ({"wrong": 2, "notes": {"wrong": ["another arm"]}}, "another arm"),
            ({"broken": ("not so: version 1 answers",)}, "version 1 answers"),
        ],
    )
    def test_each_is_said(self, change: dict[str, Any], said: str) -> None:
        (told,) = exceeded(replace(GOOD, **change), LIMIT)
        assert told.startswith("errors 1: ")
        assert said in told

    def test_a_leader_is_followed_in_time(self) -> None:
        limit = FAULTS["killed_leader"].limit
        assert exceeded(replace(GOOD, switched=14.9), limit) == []
        assert "switched after 15.1 s" in exceeded(replace(GOOD, switched=15.1), limit)[0]

    def test_a_kpi_is_decided_within_the_printed_sample(self) -> None:
        limit = FAULTS["lower_ctr"].limit
        assert exceeded(replace(GOOD, sample=1500, printed=1000), limit) == []
        assert "1501 matured answers" in exceeded(replace(GOOD, sample=1501, printed=1000), limit)[0]
        assert "is not known" in exceeded(GOOD, limit)[0]

    def test_a_worker_takes_its_requests_along(self) -> None:
        limit = FAULTS["killed_worker"].limit
        quiet = replace(GOOD, switched=None, switch_seconds=(), failed=3, failed_at=(-0.1, 0.0, 0.9))
        assert exceeded(quiet, limit) == []
        assert "1 of 100 requests failed" in exceeded(replace(quiet, failed_at=(-0.1, 0.0, 1.1)), limit)[0]

    def test_all_are_those_of_the_issue(self) -> None:
        restored = {name: fault.limit.restored for name, fault in FAULTS.items() if fault.limit.restored}
        assert restored == {
            "errors": 30.0, "slow": 30.0, "corrupt_artifact": 30.0, "dead_prefect": 30.0, "null_surge": 60.0,
        }  # fmt: skip
        assert {name for name, fault in FAULTS.items() if fault.limit.sample == 1.5} == {"lower_ctr", "drift_and_drop"}
        assert {name for name, fault in FAULTS.items() if fault.limit.lost_seconds is not None} == {"killed_worker"}
        assert len(FAULTS) == 11


def test_repeats_are_summed_up() -> None:
    repeats = [replace(GOOD, number=at, restored=float(at), failed=at // 3) for at in (1, 2, 3)]
    found = summary(repeats, LIMIT)
    assert found["moments"]["restored"] == {"p50": 2.0, "max": 3.0, "times": 3}
    assert (found["requests"], found["failed"], found["repeats"]) == (300, 1, 3)
    assert found["switch"] == {"p50": 0.5, "max": 0.5, "times": 3}
    assert found["exceeded"] == ["errors 3: 1 of 100 requests failed, none may"]
    assert summary([replace(GOOD, decided=None)], LIMIT)["moments"]["decided"] is None
