"""Releases, verbs, votes, trips, crashes and former leaders in any order, on a real ledger: what must hold after each.

Always one current revision; a log that verifies; no artifact in a plan that people did not vote for, and no canary that was
rejected; and a refusal, a crash or an old leader changes nothing at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from checks import plans as moves
from checks.ballots import verify_approval
from checks.plans import arms
from errors import ReleaseRefused, RevisionConflict
from guard.loop import Guard
from records import ReleasePlan, SignedPlan, utc_now
from stores.ledger import audit, ballots, leases, outbox, plans
from tests.checks.traffic import live, pairs
from tests.guard.town import ROLLOUT, Town
from tests.stores.ledger.world import MODEL, ROLES, arm

BY_ITSELF = (moves.advance, moves.take_back, moves.rollback, moves.hold, moves.freeze, moves.fallback)
STOPS = (moves.freeze, moves.hold, moves.undo, moves.fallback)
UNDOING: dict[str, Any] = {
    "unfreeze": moves.unfreeze,
    "resume": moves.resume,
    "restore": moves.restore,
    "advance": moves.advance,
}
DEEDS = (
    "release_another",
    "release_again",
    "operate",
    "undo_by_vote",
    "undo_without_a_vote",
    "release_without_a_vote",
    "move_by_itself",
    "tick_with_traffic",
    "a_replica_trips",
    "the_guard_starts_anew",
    "a_former_leader_wakes_up",
    "an_operators_writer_dies",
    "the_guard_dies",
    "the_release_dies",
)
BREAKS = ((plans, "_append"), (outbox, "queue"), (ballots, "settle"))
SHORT = settings(
    max_examples=6, stateful_step_count=16, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(SHORT, max_examples=20, stateful_step_count=30, phases=[Phase.generate])  # a minute or two


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
        self.versions = self.trips = 0
        self.seen: list[SignedPlan] = []
        self.ring = self.town.signer("guard").ring

    def teardown(self) -> None:
        if hasattr(self, "town"):
            self.town.close()
            shutil.rmtree(self.folder)

    @rule(deed=st.sampled_from(DEEDS), pick=st.integers(0, 11))
    def somebody_does(self, deed: str, pick: int) -> None:
        """One rule for all of them: with a rule each, a short run would leave most of them out."""
        getattr(self, deed)(pick)

    # ---- what people do ----------------------------------------------------------------------------

    def release_another(self, _: int) -> None:
        self.versions += 1
        self._try(lambda: self.town.begin(self.versions))

    def release_again(self, pick: int) -> None:
        """Perhaps one that was taken back: its hash cannot come again, whoever votes for it."""
        number, plan = 1 + pick % max(self.versions, 1), self._plan()
        bad = plan is not None and bool(set(moves.contents(arm(number))) & set(plan.rejected))
        done = self._try(lambda: self.town.begin(number, names_freeze=pick % 2 == 0))
        assert not (bad and done)

    def operate(self, pick: int) -> None:
        self._try(lambda: self.town.operate(STOPS[pick % len(STOPS)], ("ada", "ben")[pick % 2]))

    def undo_by_vote(self, pick: int) -> None:
        plan, verb = self._plan(), sorted(UNDOING)[pick % len(UNDOING)]
        if plan is not None:
            ballot = self.town.voted(verb, plan.revision)  # type: ignore[arg-type]  # one of the verbs
            self._try(lambda: self._change("release", UNDOING[verb], ballot=ballot))

    def undo_without_a_vote(self, pick: int) -> None:
        before = self._plan()
        self._try(lambda: self.town.operate(UNDOING[sorted(UNDOING)[pick % len(UNDOING)]]))
        assert self._plan() == before

    def release_without_a_vote(self, _: int) -> None:
        def force(plan: ReleasePlan, **how: Any) -> ReleasePlan:
            """What `start_rollout` makes, past its own checks."""
            return replace(plan, canary=arm(99), rollout=ROLLOUT, salt="forced", mode="model")

        assert not self._try(lambda: self._change("release", force))

    # ---- what the guard does -----------------------------------------------------------------------

    def move_by_itself(self, pick: int) -> None:
        self._try(lambda: self._change("guard", BY_ITSELF[pick % len(BY_ITSELF)], epoch=self.epoch))

    def tick_with_traffic(self, pick: int) -> None:
        plan = self._plan()
        if plan is not None and plan.canary is not None:
            number, rates = plan.canary.number, ((0.3, 0.3), (0.1, 0.3))[pick % 2]
            self._tick()
            answered = live(plan.salt, "canary", number, 100, errors=60 if pick % 3 == 0 else 0)
            self.town.count([*pairs(plan.salt, number, 1500, rates), *answered])
        self._tick()

    def a_replica_trips(self, _: int) -> None:
        plan = self._plan()
        if plan is not None and plan.canary is not None and plan.canary.artifact is not None:
            self.trips += 1
            self.town.trip(plan.canary.artifact.content, id=f"trip-{self.trips}")
        self._tick()

    def the_guard_starts_anew(self, _: int) -> None:
        self.guard = self.town.guard()
        self._tick()

    def a_former_leader_wakes_up(self, pick: int) -> None:
        """Its epoch is over: whatever it believes, it writes nothing."""
        old, before, move = self.epoch, self._rows(), BY_ITSELF[pick % len(BY_ITSELF)]
        self.epoch = self._lease()
        with pytest.raises(RevisionConflict, match="epoch"):
            self._change("guard", lambda plan, **how: replace(move(plan, **how), reason="late"), epoch=old)
        assert self._rows() == before

    # ---- what breaks -------------------------------------------------------------------------------

    def an_operators_writer_dies(self, pick: int) -> None:
        self._dies(pick, lambda: self.town.operate(STOPS[pick % len(STOPS)]))

    def the_guard_dies(self, pick: int) -> None:
        self._dies(pick, lambda: self._change("guard", BY_ITSELF[pick % len(BY_ITSELF)], epoch=self.epoch))

    def the_release_dies(self, pick: int) -> None:
        self._dies(pick, lambda: self.town.begin(self.versions + 1))

    def _dies(self, pick: int, work: Callable[[], Any]) -> None:
        """Within a transaction: nothing of it is there afterwards, or it was refused, or never came so far."""
        before = self._rows()
        with dying(*BREAKS[pick % len(BREAKS)]), suppress(ReleaseRefused, RevisionConflict):
            try:
                work()
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
        assert not {one for arm in arms(plan) for one in moves.contents(arm)} & set(plan.rejected)
        if len(self.seen) > 1:
            self._remembers(self.seen[-2].plan, plan)

    def _remembers(self, before: ReleasePlan, plan: ReleasePlan) -> None:
        """What was rejected once, and what was just taken back: a canary that goes while its champion stays."""
        assert set(before.rejected) <= set(plan.rejected)
        stays = (before.mode, before.champion) == (plan.mode, plan.champion)
        if before.canary is not None and plan.canary is None and stays:
            assert set(moves.contents(before.canary)) <= set(plan.rejected)

    # ---- how ---------------------------------------------------------------------------------------

    def _rows(self) -> list[SignedPlan]:
        return plans.history(self.town.ledgers["reader"], MODEL)

    def _plan(self) -> ReleasePlan | None:
        signed = plans.current(self.town.ledgers["reader"], MODEL)
        return signed.plan if signed else None

    def _lease(self) -> int:
        epoch = leases.acquire(self.town.ledgers["guard"], leases.GUARD, "guard-1", 600)
        assert epoch is not None
        return epoch

    def _tick(self) -> None:
        if self._plan() is not None:
            self.town.follow()
        self.guard.tick()
        self.epoch = self._lease()

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
