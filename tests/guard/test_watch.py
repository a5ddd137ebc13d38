"""What the guard sees, and what it remembers when it starts."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from checks import plans as moves
from checks.judge import state_of
from guard.watch import restored
from records import utc_now
from stores.ledger import findings, leases, tables, verdicts
from tests.checks.traffic import live
from tests.guard.test_both_down import restore
from tests.guard.test_loop import raw
from tests.guard.test_rollout import content
from tests.guard.town import BAD, WELL, Town, ticks
from tests.stores.ledger.world import MODEL


class TestTrips:
    """Replicas and whoever writes plans have clocks of their own."""

    @pytest.mark.parametrize("apart", [-600, 600])
    def test_a_canary_that_a_replica_refused_goes_back_whatever_its_clock_says(self, two: Town, apart: int) -> None:
        two.begin(3)
        two.follow()
        two.trip(content(3), at=utc_now() + timedelta(seconds=apart))
        two.guard().tick()
        assert two.plan().canary is None
        assert content(3) in two.plan().rejected

    def test_also_in_a_later_step_of_its_rollout(self, two: Town) -> None:
        two.begin(3)
        begun = two.plan().revision
        two.operate(moves.hold)
        two.follow()
        two.trip(content(3), revision=begun, at=utc_now() - timedelta(seconds=600))
        two.guard().tick()
        assert two.plan().canary is None

    def test_not_for_one_of_an_earlier_rollout_of_it(self, two: Town) -> None:
        two.begin(3)
        two.trip(content(3), at=utc_now() - timedelta(seconds=600))
        two.operate(moves.fallback)  # which rejects nothing
        restore(two)
        two.begin(3)
        ticks(two.guard(), two)
        assert two.plan().canary is not None

    def test_of_a_champion_only_those_of_this_revision_are_told(self, two: Town) -> None:
        old = two.plan().revision
        two.operate(moves.freeze)
        two.trip(content(2), arm="champion", kind="dropped", revision=old, id="old")
        guard = two.guard()
        ticks(guard, two)
        assert two.alerts() == []
        two.trip(content(2), arm="champion", kind="dropped", at=utc_now() - timedelta(seconds=600))
        ticks(guard, two)
        assert [alert.title for alert in two.alerts()] == ["replica replica-1 dropped recommendation-v2"]


class TestStart:
    def test_of_the_verdicts_only_the_newest_is_read(self, two: Town) -> None:
        """There is one every ten seconds, for months: who takes over has seconds."""
        ticks(two.guard(), two)
        newest = two.verdicts()[-1]
        raw(two, "INSERT INTO verdicts VALUES ('old', ?, ?, 'no json')", MODEL, 0)
        watch = restored(two.ledgers["guard"], MODEL)
        assert watch.saved == newest
        assert watch.memory is not None

    def test_the_newest_is_found_without_reading_the_others(self, two: Town) -> None:
        query = sa.select(tables.verdicts.c.payload).where(tables.verdicts.c.model == MODEL)
        newest = query.order_by(tables.verdicts.c.at.desc(), tables.verdicts.c.id.desc()).limit(1)
        explained = "EXPLAIN QUERY PLAN " + str(newest.compile(compile_kwargs={"literal_binds": True}))
        with two.ledgers["reader"].read() as connection:
            steps = [str(row[3]) for row in connection.exec_driver_sql(explained)]
        assert any("INDEX verdicts_of_a_model" in step for step in steps), steps
        assert verdicts.newest(two.ledgers["reader"], MODEL) == two.verdicts()[-1]

    def test_a_memory_of_another_release_is_left_and_the_step_counts_anew(self, two: Town) -> None:
        ticks(two.guard(), two)
        last = two.verdicts()[-1]
        strange = {**last.inputs, "memory": {**last.inputs["memory"], "added_later": 1}}
        verdicts.save(two.ledgers["guard"], replace(last, id="later", inputs=strange, at=utc_now()), "guard")
        watch = restored(two.ledgers["guard"], MODEL)
        assert (watch.memory, watch.saved) == (None, None)
        ticks(two.guard(), two)
        assert two.alerts() == []

    def test_who_leads_again_knows_what_was_done_meanwhile(self, two: Town) -> None:
        """Or it would do again what people have undone."""
        ledger, one = two.ledgers["guard"], two.guard()
        ticks(one, two)
        leases.release(ledger, leases.GUARD, leases.acquire(ledger, leases.GUARD, "guard-1", 60) or 0)
        [*_, fell] = two.find(WELL, level="yes")
        other = two.guard(holder="other")
        ticks(other, two)
        assert two.plan().mode == "rules"
        restore(two)
        ticks(one, two, 2)  # its write is refused, and it asks who leads
        told = [one.leads]
        leases.release(ledger, leases.GUARD, leases.acquire(ledger, leases.GUARD, "other", 60) or 0)
        now = utc_now()  # the monitors find the same week again
        again = replace(fell, id="again", found_at=now, expires_at=now + timedelta(hours=2))
        findings.save(two.ledgers["flow"], [again], "monitor")
        ticks(one, two)
        assert [*told, one.leads] == [False, True]
        assert two.plan().mode == "model"
        assert len(two.incidents()) == 1

    def test_rulings_that_cannot_be_read_are_not_forgotten(self, two: Town) -> None:
        """Else people who restored would be overruled by what they knew of, from the second tick on."""
        guard = two.guard()
        two.find(BAD)
        ticks(guard, two)
        assert two.plan().champion.number == 1
        raw(two, "INSERT INTO rulings VALUES ('broken', ?, ?, 'no json')", MODEL, 0)
        before, ruled = two.plan(), len(two.requests())
        ticks(two.guard(), two, 5)
        assert two.plan() == before
        assert len(two.requests()) == ruled
        assert [alert.title for alert in two.alerts()][-1] == "the guard cannot watch this model"
        with pytest.raises(msgspec.DecodeError):
            restored(two.ledgers["guard"], MODEL)


def test_counters_that_take_long_to_read_are_left_for_a_while_but_not_over_a_change(
    two: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Months of control make many rows; the guard has other models."""
    guard = two.guard()
    ticks(guard, two)
    monkeypatch.setattr("guard.watch.SLOW_SECONDS", -1.0)
    monkeypatch.setattr("guard.watch.READ_SHARE", 1e9)
    ticks(guard, two)
    two.count(live(two.plan().salt, "champion", 2, 100, errors=100))
    ticks(guard, two)
    assert state_of(two.verdicts()[-1]) == "watching"
    two.operate(moves.hold)
    ticks(guard, two)
    assert state_of(two.verdicts()[-1]) == "errors"
