"""Releases, verbs, votes, spoilt bytes, a ledger that goes, kills and restarts in any order, on a real replica that is asked
after each: what it says must be right.

Every reply is worked out again by a client that knows only the released artifacts and the plans (`benchmarks.reliability.oracle`).
Always one current revision, and an old one answers two seconds more; the log verifies; no artifact answers that people
did not vote for or that was rejected; the journal has each reply once; `served` and `trace` tell of it as it was.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from benchmarks.reliability import kept
from benchmarks.reliability.oracle import UNDER_OLD_SECONDS, Oracle, Timeline
from benchmarks.reliability.play import oracle_of
from benchmarks.reliability.village import Village
from benchmarks.server import wait_for
from checks import plans as moves
from checks.ballots import verify_approval
from configs.schema import Config
from errors import ReleaseRefused, RevisionConflict
from records import Arm, ReleasePlan, utc_now
from stores.ledger import audit, plans
from tasks.trace import served, trace
from tests.serving.forked import Replica
from tests.serving.town import NAME, Town
from tests.stores.ledger.world import ROLES

BY_ITSELF = (moves.take_back, moves.rollback, moves.fallback, moves.freeze, moves.hold)
UNDOING: dict[str, Any] = {"unfreeze": moves.unfreeze, "resume": moves.resume, "restore": moves.restore}
MAX_AGE_SECONDS = 0.5  # of a plan that nobody confirms
SERVICE = {"max_age_seconds": MAX_AGE_SECONDS, "drain_idle_seconds": 0.05}
BODIES = [msgspec.json.encode({"customer": str(number), "k": 5}) for number in range(0, 60, 8)]
DEEDS = (  # in an order that leads somewhere: the first sequence takes them one by one, the others begin anywhere
    "release", "advance", "lose_the_ledger_and_die", "advance", "release_spoilt", "lose_a_copy", "go_back", "release",
    "break_the_glass", "die_over_a_change", "spoil_the_cached_plan", "go_back", "undo_by_vote", "die", "release",
    "go_back", "undo_by_vote", "lose_the_ledger", "leave",
)  # fmt: skip
SHORT = settings(  # the first nine deeds, one by one: a replica takes a second to start
    max_examples=2, stateful_step_count=9, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(SHORT, max_examples=10, stateful_step_count=25, phases=[Phase.generate])  # some minutes


class Streets(Town, Village):
    """The town, with versions that answer differently and versions whose bytes were changed after the vote."""

    known: ClassVar[Config | None] = None  # a home that was copied has its configuration already

    def decide(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        if self.known is None:
            super().decide(changes)
        else:
            self.config = self.known

    def asked_at(self) -> datetime:
        return utc_now()

    def cast_at(self) -> datetime:
        return utc_now()


class AnyOrder(RuleBasedStateMachine):
    """One replica, and everybody who may change what it serves."""

    home: ClassVar[Path]
    arms: ClassVar[dict[int, Arm]]  # candidates that are made already

    @initialize()
    def a_replica(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.home, self.folder / "home")
        self.town = Streets(self.folder / "home", SERVICE)
        self.oracle: Oracle = oracle_of(self.town)
        self.timeline, self.versions = Timeline(), 1
        self.spoilt: set[str] = set()
        self.place = -1
        self.replies: list[dict[str, Any]] = []
        self.allowed: dict[int, set[str]] = {}
        now = time.monotonic()
        self._noted(self.town.plan(), now)
        self.replica = Replica(self.town)
        self._loaded()

    def teardown(self) -> None:
        if not hasattr(self, "replica"):
            return
        try:
            assert self.replica.leave() == 0, self.replica.lines
            self._told_as_it_was()
            assert "Traceback" not in self.replica.lines, self.replica.lines
        finally:
            self.replica.kill()
            self.town.close()
            shutil.rmtree(self.folder)

    @rule(skip=st.integers(0, len(DEEDS) - 1), pick=st.integers(0, 11))
    def somebody_does(self, skip: int, pick: int) -> None:
        """Hypothesis begins with nothing but zeros, which would be one deed for ever: where it stands goes on by itself."""
        self.place = (self.place + 1 + skip) % len(DEEDS)
        getattr(self, DEEDS[self.place])(pick + self.place)
        self._follows()
        self._asked()

    # ---- what people and the guard do ----------------------------------------------------------------

    def release(self, _: int) -> None:
        self.versions += 1
        arm = self.arms.get(self.versions) or self.town.differing(self.versions)[0]
        if self._change(lambda: self.town.begin(arm)):
            plan = self.town.plan()
            if plan.champion.is_rules:  # they look at its features, once these are there
                wait_for(lambda: self._whole(plan.revision), 30)

    def advance(self, _: int) -> None:
        self._change(partial(self.town.guard, moves.advance))

    def go_back(self, pick: int) -> None:
        self._change(partial(self.town.guard, BY_ITSELF[pick % len(BY_ITSELF)]))

    def undo_by_vote(self, pick: int) -> None:
        verb = sorted(UNDOING)[pick % len(UNDOING)]

        def undo() -> ReleasePlan:
            return plans.change(
                self.town.ledgers["release"],
                NAME,
                lambda plan: UNDOING[verb](plan, at=utc_now(), actor="release", reason="voted"),
                signer=self.town.signer("release"),
                actor="release",
                ballot=self.town.voted(verb, self.town.plan().revision),  # type: ignore[arg-type]  # one of the verbs
            )

        self._change(undo)

    # ---- what breaks ---------------------------------------------------------------------------------

    def release_spoilt(self, _: int) -> None:
        """Its bytes changed after the vote: it is never loaded, whatever share it is given."""
        self.versions += 1
        arm = self.town.spoilt(self.versions)
        self.spoilt.update(moves.contents(arm))
        if self._change(lambda: self.town.begin(arm)):
            self._change(partial(self.town.guard, moves.advance))

    def lose_a_copy(self, pick: int) -> None:
        """Artifact and copy of an arm are spoilt, or are those of another version, and it dies; then they are mended."""
        arms = [arm for arm in moves.arms(self.town.plan()) if arm.artifact is not None]
        if not arms:
            return
        paths = self._paths(arms[pick % len(arms)])
        before = {path: path.read_bytes() for path in paths if path.exists()}
        other = self._paths(self.town.candidate(99))[0].read_bytes()  # a good artifact, which nobody voted for
        for path in before:
            path.write_bytes(other if pick % 2 else b"\0" + before[path][1:])
        self.die(pick)
        self._asked()
        for path, data in before.items():
            path.write_bytes(data)
        self.die(pick)

    def lose_the_ledger(self, _: int) -> None:
        self._without_ledger(lambda: None)

    def lose_the_ledger_and_die(self, _: int) -> None:
        """What it kept is enough to start with."""

        def again() -> None:
            self.replica.kill()
            self._again()

        self._without_ledger(again)

    def spoil_the_cached_plan(self, _: int) -> None:
        """A plan it did not judge is not believed, although it is a signed one; without the ledger there is none then."""
        path = self.town.folder / "serving" / "replica-1" / NAME / "plan.json"

        def tampered() -> None:
            self.replica.kill()
            data = path.read_bytes()
            path.write_bytes(data.replace(b"champion", b"chempion", 1))
            self.replica.start()
            assert {self.replica.ask(body).status_code for body in BODIES[:3]} == {503}

        self._without_ledger(tampered, asked=False)
        self._loaded()

    def die(self, _: int) -> None:
        self.replica.kill()
        self._again()

    def die_over_a_change(self, pick: int) -> None:
        self.replica.kill()
        if pick % 2:
            self.go_back(pick)
        else:
            self.advance(pick)
        self._again()

    def leave(self, _: int) -> None:
        assert self.replica.leave() == 0, self.replica.lines
        self._again()

    def break_the_glass(self, _: int) -> None:
        """The rules, at once, whatever the plan says; and back."""
        file = self.town.folder / "serving" / "replica-1" / "force-rules"
        file.write_text("a test")
        wait_for(lambda: self._ask(BODIES[0])["override"] == "break_glass")
        self._asked()
        file.unlink()
        wait_for(lambda: self._ask(BODIES[0])["override"] != "break_glass")

    # ---- what always holds ---------------------------------------------------------------------------

    @invariant()
    def one_current_revision_of_a_whole_history(self) -> None:
        if not hasattr(self, "replica"):
            return
        reader = self.town.ledgers["reader"]
        rows = plans.history(reader, NAME)
        assert [one.plan.revision for one in rows] == list(range(1, len(rows) + 1))
        assert plans.verify_all(reader, self.town.signer("guard").ring) == len(rows)
        audit.verify(reader)

    def _follows(self) -> None:
        """The current revision answers, soon."""
        revision, last = self.town.plan().revision, self.timeline.changes[-1].after
        wait_for(lambda: self._ask(BODIES[0])["revision"] == revision, UNDER_OLD_SECONDS + 30)
        assert revision == self.timeline.changes[-1].plan.revision
        assert last <= time.monotonic()

    def _asked(self) -> list[dict[str, Any]]:
        return [self._ask(body) for body in BODIES]

    def _ask(self, body: bytes) -> dict[str, Any]:
        """A reply, which must be right under a plan that may answer now."""
        plan = self.timeline.changes[-1].plan
        by_rules = plan.mode == "rules" or any(
            arm is not None and arm.is_rules for arm in (plan.champion, plan.control)
        )
        loading = by_rules and not self._whole(plan.revision)  # or cannot be loaded, which is as good
        sent = time.monotonic()
        response = self.replica.ask(body)
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        plans_then = self.timeline.current(sent, time.monotonic())
        said = {**reply, "override": "not_loaded"} if self._stood_in(reply, plans_then) else reply
        wrong = self.oracle.wrong(said, body, plans_then, loading=loading)
        assert not wrong, (wrong, reply)
        self.replies.append({**reply, "at": datetime.now(UTC)})
        return reply

    def _stood_in(self, reply: dict[str, Any], now: dict[int, ReleasePlan]) -> bool:
        """Whether another one answered for a champion that cannot be loaded, which took over from a canary too old."""
        plan = now.get(reply["revision"])
        return (
            reply["override"] == "stale" and plan is not None and bool(self.spoilt & set(moves.contents(plan.champion)))
        )

    def _told_as_it_was(self) -> None:
        """Journal, ledger and replies agree on who said what, by whose leave, under which plan."""
        written = kept.answers(self.town.folder / "journal")
        assert kept.compare(written, self.replies).broken == []
        for line in written:
            assert not line.artifact or line.artifact in self.allowed[line.revision], line
        for reply in self.replies[:: max(1, len(self.replies) // 4)]:
            told = trace(self.town.settings, self.town.config, reply["prediction_id"])
            assert (told["served_by"], told["release"]["revision"]) == (reply["name"], reply["revision"])
            assert reply["version"] == 0 or len(told["votes"]) == len(ROLES)
            then = served(self.town.settings, NAME, told["answer"].received_at)
            assert then["answers_that_minute"][f"{reply['arm']} v{reply['version']} r{reply['revision']}"] > 0
            assert then["plan"].revision >= reply["revision"]

    # ---- how -----------------------------------------------------------------------------------------

    def _change(self, move: Callable[[], ReleasePlan]) -> bool:
        """Whether there is another plan now; a refusal leaves everything as it was."""
        revision, before = self.town.plan().revision, time.monotonic()
        try:
            plan = move()
        except (ReleaseRefused, RevisionConflict):
            assert self.town.plan().revision == revision
            return False
        if plan.revision == revision:
            return False
        self._noted(plan, before)
        return True

    def _noted(self, plan: ReleasePlan, before: float) -> None:
        """The plan, from when it was being written; and the artifacts that may answer under it."""
        ring = self.town.signer("guard").ring
        arms = [arm for arm in moves.arms(plan) if arm.artifact is not None]
        for arm in arms:
            verify_approval(arm, ring.verify, model=NAME, roles=ROLES)
        self.allowed[plan.revision] = {one for arm in arms for one in moves.contents(arm)} - set(plan.rejected)
        self.timeline.add(plan, before, time.monotonic())

    def _again(self) -> None:
        """It may be sent traffic once it is ready."""
        self.replica.start()
        self._loaded()

    def _loaded(self) -> None:
        """Waits until all that can be loaded is."""
        wait_for(lambda: self.replica.facts()["ready"], 30)

    def _whole(self, revision: int) -> bool:
        """Whether all of this revision is loaded; not when it cannot say so."""
        facts = self.replica.facts()
        return facts.get("revisions", {}).get(NAME) == revision and not any(
            "not loaded" in one for one in facts["degraded"]
        )

    def _without_ledger(self, meanwhile: Callable[[], None], asked: bool = True) -> None:
        there, away = self.town.folder / "ledger.db", self.town.folder / "away.db"
        there.rename(away)
        try:
            meanwhile()
            wait_for(lambda: any("ledger" in one for one in self.replica.facts().get("degraded", ["ledger"])))
            if asked:
                self._asked()
                begun = time.monotonic()
                wait_for(lambda: time.monotonic() - begun > MAX_AGE_SECONDS)
                assert "canary" not in {reply["arm"] for reply in self._asked()}  # the plan is too old for one
        finally:
            away.rename(there)
        wait_for(lambda: not any("ledger" in one for one in self.replica.facts().get("degraded", ["ledger"])), 30)

    def _paths(self, arm: Arm) -> list[Path]:
        """Where the bytes of an arm are: in the store, and in what the replica kept."""
        assert arm.artifact is not None
        content = arm.artifact.content
        copies = self.town.folder / "serving" / "replica-1" / NAME / "sealed"
        return [self.town.folder / "artifacts" / content[:2] / f"{content}.sealed", copies / content]


@pytest.fixture
def machine(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[AnyOrder]:
    AnyOrder.home = tmp_path / "made"
    shutil.copytree(built, AnyOrder.home)
    town = Streets(AnyOrder.home, SERVICE)
    AnyOrder.arms = {number: town.differing(number)[0] for number in (2, 3)}
    town.close()
    monkeypatch.setattr(Streets, "known", town.config)
    return AnyOrder


def test_in_any_order(machine: type[AnyOrder]) -> None:
    run_state_machine_as_test(machine, settings=SHORT)


@pytest.mark.slow
def test_in_any_order_for_long(machine: type[AnyOrder]) -> None:
    run_state_machine_as_test(machine, settings=LONG)
