"""Releases, verbs, votes, trips, crashes and former leaders in any order, on a real ledger: what must hold after each.

Always one current revision; a log that verifies; no artifact in a plan that people did not vote for, and no canary that was
rejected; and a refusal, a crash or an old leader changes nothing at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from checks import plans as moves
from checks.ballots import verify_approval
from checks.plans import arms
from errors import ReleaseRefused, RevisionConflict
from guard.loop import Guard
from records import ReleasePlan, SignedPlan, utc_now
from stores.ledger import audit, ballots, incidents, leases, outbox, plans
from tests.checks.traffic import live, pairs
from tests.guard.town import ROLLOUT, Town
from tests.stores.ledger.world import MODEL, ROLES, arm

BY_ITSELF = (moves.advance, moves.take_back, moves.rollback, moves.hold, moves.freeze, moves.fallback)
STOPS = (moves.freeze, moves.hold, moves.undo, moves.fallback)
VOTED: dict[Any, Any] = {
    "unfreeze": moves.unfreeze,
    "resume": moves.resume,
    "restore": moves.restore,
    "advance": moves.advance,
}
BREAKS = ((plans, "_append"), (outbox, "queue"), (ballots, "settle"), (incidents, "store"))
SHORT = settings(
    max_examples=6, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(SHORT, max_examples=150, stateful_step_count=40, derandomize=False)


class Crash(BaseException):
    """The writer dies: nothing of ours may catch it."""


class AnyOrder(RuleBasedStateMachine):
    """One model's releases under everybody who may touch them."""

    enrolled: ClassVar[Town]

    @initialize()
    def a_town(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.enrolled.folder, self.folder / "town")
        self.town = Town(self.folder / "town", like=self.enrolled)
        self.guard: Guard = self.town.guard()
        self.epoch = self._lease()
        self.versions = 0
        self.seen: list[SignedPlan] = []
        self.ring = self.town.signer("guard").ring

    def teardown(self) -> None:
        if hasattr(self, "town"):
            self.town.close()
            shutil.rmtree(self.folder)

    # ---- what people do ----------------------------------------------------------------------------

    @rule()
    def release_another(self) -> None:
        self.versions += 1
        self._try(lambda: self.town.begin(self.versions))

    @rule(names_freeze=st.booleans(), number=st.integers(1, 4))
    def release_again(self, number: int, names_freeze: bool) -> None:
        """Perhaps one that was taken back: its hash cannot come again, whoever votes for it."""
        rejected = arm(number).artifact
        plan = self._plan()
        bad = plan is not None and rejected is not None and rejected.content in plan.rejected
        done = self._try(lambda: self.town.begin(number, names_freeze=names_freeze))
        assert not (bad and done)

    @rule(verb=st.sampled_from(STOPS), name=st.sampled_from(["ada", "ben"]))
    def operate(self, verb: Any, name: str) -> None:
        self._try(lambda: self.town.operate(verb, name))

    @rule(verb=st.sampled_from(sorted(VOTED)))
    def undo_by_vote(self, verb: str) -> None:
        plan = self._plan()
        if plan is None:
            return
        ballot = self.town.voted(verb, plan.revision)  # type: ignore[arg-type]  # one of the verbs
        self._try(lambda: self._change("release", VOTED[verb], ballot=ballot))

    @rule(verb=st.sampled_from(sorted(VOTED)))
    def undo_without_a_vote(self, verb: str) -> None:
        before = self._plan()
        self._try(lambda: self.town.operate(VOTED[verb]))
        assert self._plan() == before

    @rule()
    def release_without_a_vote(self) -> None:
        done = self._try(lambda: self._change("release", self._started(arm(99))))
        assert not done

    # ---- what the guard does -----------------------------------------------------------------------

    @rule(move=st.sampled_from(BY_ITSELF))
    def move_by_itself(self, move: Any) -> None:
        self._try(lambda: self._change("guard", move, epoch=self.epoch))

    @rule(rates=st.sampled_from([(0.3, 0.3), (0.1, 0.3)]), errors=st.sampled_from([0, 0, 60]))
    def tick_with_traffic(self, rates: tuple[float, float], errors: int) -> None:
        plan = self._plan()
        if plan is not None and plan.canary is not None:
            number = plan.canary.number
            self.town.follow()
            self.guard.tick()
            self.town.count(
                [*pairs(plan.salt, number, 1500, rates), *live(plan.salt, "canary", number, 100, errors=errors)]
            )
        self._tick()

    @rule()
    def a_replica_trips(self) -> None:
        plan = self._plan()
        if plan is not None and plan.canary is not None and plan.canary.artifact is not None:
            content = plan.canary.artifact.content
            if all(content != trip for trip in self._tripped()):
                self.town.trip(content, id=f"trip-{plan.revision}-{len(self.seen)}")
        self._tick()

    @rule()
    def the_guard_starts_anew(self) -> None:
        self.guard = self.town.guard()
        self._tick()

    @rule(move=st.sampled_from(BY_ITSELF))
    def a_former_leader_wakes_up(self, move: Any) -> None:
        """Its epoch is over: whatever it believes, it writes nothing."""
        old, before = self.epoch, self._rows()
        self.epoch = self._lease()
        with pytest.raises((RevisionConflict, ReleaseRefused)):
            self._change("guard", lambda plan, **how: replace(move(plan, **how), reason="late"), epoch=old)
        assert self._rows() == before

    # ---- what breaks -------------------------------------------------------------------------------

    @rule(where=st.sampled_from(BREAKS), verb=st.sampled_from(STOPS))
    def a_writer_dies_within(self, where: tuple[Any, str], verb: Any) -> None:
        before = self._rows()
        with dying(*where):
            try:
                self.town.operate(verb)
            except Crash:
                assert self._rows() == before
            except ReleaseRefused:
                pass

    @rule(where=st.sampled_from(BREAKS))
    def the_guard_dies_within(self, where: tuple[Any, str]) -> None:
        before = self._rows()
        with dying(*where):
            try:
                self._change("guard", moves.take_back, epoch=self.epoch)
            except Crash:
                assert self._rows() == before

    # ---- what always holds -------------------------------------------------------------------------

    @invariant()
    def one_current_revision_of_a_whole_history(self) -> None:
        if not hasattr(self, "town"):
            return
        signed = self._rows()
        assert [one.plan.revision for one in signed] == list(range(1, len(signed) + 1))
        assert signed[: len(self.seen)] == self.seen  # nothing that was written is written again
        assert plans.current(self.town.ledgers["reader"], MODEL) == (signed[-1] if signed else None)
        assert plans.verify_all(self.town.ledgers["reader"], self.ring) == len(signed)
        audit.verify(self.town.ledgers["reader"])
        self.seen = signed

    @invariant()
    def only_what_people_voted_for(self) -> None:
        plan = self._plan() if hasattr(self, "town") else None
        if plan is None:
            return
        for one in arms(plan):
            if not one.is_rules:
                assert one.artifact is not None
                assert one.approval is not None
                assert one.approval.subject.artifact == one.artifact.content
                verify_approval(one, self.ring.verify, model=MODEL, roles=ROLES)
        assert plan.canary is None or not set(moves.contents(plan.canary)) & set(plan.rejected)
        if len(self.seen) > 1:
            assert set(self.seen[-2].plan.rejected) <= set(plan.rejected)

    # ---- how ---------------------------------------------------------------------------------------

    def _rows(self) -> list[SignedPlan]:
        return plans.history(self.town.ledgers["reader"], MODEL)

    def _plan(self) -> ReleasePlan | None:
        signed = plans.current(self.town.ledgers["reader"], MODEL)
        return signed.plan if signed else None

    def _tripped(self) -> list[str]:
        from stores.ledger import counters

        return [trip.artifact for trip in counters.trips(self.town.ledgers["reader"], MODEL)]

    def _lease(self) -> int:
        epoch = leases.acquire(self.town.ledgers["guard"], leases.GUARD, "guard-1", 600)
        assert epoch is not None
        return epoch

    def _tick(self) -> None:
        self.town_follows()
        self.guard.tick()
        self.epoch = self._lease()

    def town_follows(self) -> None:
        if self._plan() is not None:
            self.town.follow()

    def _try(self, work: Callable[[], Any]) -> bool:
        """Whether it was done; a refusal leaves everything as it was."""
        before = self._rows()
        try:
            work()
        except (ReleaseRefused, RevisionConflict):
            assert self._rows() == before
            return False
        assert len(self._rows()) <= len(before) + 1
        return True

    def _change(self, who: Any, move: Any, **options: Any) -> ReleasePlan:
        return plans.change(
            self.town.ledgers[who],
            MODEL,
            lambda plan: move(plan, at=utc_now(), actor=who, reason="a test"),
            signer=self.town.signer(who),
            actor=who,
            **options,
        )

    def _started(self, chosen: Any) -> Any:
        """A canary as `start_rollout` would make it, forced past its own checks."""

        def force(plan: ReleasePlan, **how: Any) -> ReleasePlan:
            return replace(plan, canary=chosen, rollout=ROLLOUT, salt="forced", mode="model")

        return force


@contextmanager
def dying(room: Any, name: str) -> Iterator[None]:
    """The process ends where this function would have been called."""

    def die(*given: Any, **named: Any) -> None:
        raise Crash(name)

    kept = getattr(room, name)
    setattr(room, name, die)
    try:
        yield
    finally:
        setattr(room, name, kept)


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A ledger with reviewers, and the keys of everybody who writes."""
    town = Town(tmp_path_factory.mktemp("enrolled"))
    town.enrol()
    for holder in ("guard", "release", "operator:ada", "operator:ben"):
        town.signer(holder)
    town.close()
    return town


def test_in_any_order(enrolled: Town) -> None:
    AnyOrder.enrolled = enrolled
    run_state_machine_as_test(AnyOrder, settings=SHORT)


@pytest.mark.slow
def test_in_any_order_for_long(enrolled: Town) -> None:
    AnyOrder.enrolled = enrolled
    run_state_machine_as_test(AnyOrder, settings=LONG)
