"""Plans in the ledger: signed, chained, one writer wins, and nothing written twice."""

import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.ballots import verify_approval
from errors import ReleaseRefused, RevisionConflict, RoleRefused, TamperError
from records import Incident, OutboxEvent, ReleasePlan
from stores.ledger import audit, ballots, incidents, leases, outbox, plans
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tests.stores.ledger.world import MODEL, NOON, REVIEWERS, ROLES, ROLLOUT, World, arm, subject

WHO: dict[str, Any] = {"at": NOON, "actor": "somebody", "reason": "because"}


def freeze(plan: ReleasePlan) -> ReleasePlan:
    return moves.freeze(plan, **WHO)


def hold(plan: ReleasePlan) -> ReleasePlan:
    return moves.hold(plan, **WHO)


def by_ada(world: World, move: plans.Transition, **options: Any) -> ReleasePlan:
    return plans.change(
        world.ledgers["operator"], MODEL, move, signer=world.signer("operator:ada"), actor="ada", **options
    )


def tamper(world: World, *statements: str) -> None:
    """What somebody with the file and no key could do: the triggers do not stop one who drops them."""
    raw = sqlite3.connect(world.folder / "ledger.db")
    for table in ("releases", "audit"):
        raw.execute(f"DROP TRIGGER IF EXISTS {table}_update")
        raw.execute(f"DROP TRIGGER IF EXISTS {table}_delete")
    for statement in statements:
        raw.execute(statement)
    raw.commit()
    raw.close()


class TestChange:
    def test_before_any_release_there_is_no_plan(self, world: World) -> None:
        assert plans.current(world.ledgers["reader"], MODEL) is None
        assert plans.history(world.ledgers["reader"], MODEL) == []
        assert plans.at(world.ledgers["reader"], MODEL, NOON) is None

    def test_a_change_is_signed_and_chained(self, world: World) -> None:
        by_ada(world, freeze)
        by_ada(world, hold)
        one, two = plans.releases(world.ledgers["reader"], MODEL)
        ring = Vault.open(world.folder, "reader").verifier
        assert plans.verify(one.signed, ring).frozen
        assert plans.verify(two.signed, ring).hold
        assert (one.signed.plan.audit_head, two.signed.plan.audit_head) == ("", one.audit)
        assert (two.signed.plan.revision, two.signed.key, two.ballot) == (2, "operator:ada", "")
        assert audit.verify(world.ledgers["reader"]) == 2
        assert audit.descends(world.ledgers["reader"], two.signed.plan.audit_head)
        assert not audit.descends(world.ledgers["reader"], "f" * 64)

    def test_an_operator_acts_as_the_owner_of_the_key(self, world: World) -> None:
        plan = plans.change(
            world.ledgers["operator"], MODEL, freeze, signer=world.signer("operator:eve"), actor="operator:ada"
        )
        assert plan.actor == "operator:eve"
        assert {entry.actor for entry in audit.entries(world.ledgers["reader"])} == {"operator:eve"}

    def test_the_same_verb_again_writes_nothing(self, world: World) -> None:
        first = by_ada(world, freeze)
        assert by_ada(world, freeze) == first
        assert by_ada(world, freeze, expected_revision=0) == first
        assert len(plans.history(world.release, MODEL)) == 1
        assert len(outbox.pending(world.release, 10)) == 1

    def test_a_conflict_says_who_wrote_what_and_when(self, world: World) -> None:
        by_ada(world, freeze)
        with pytest.raises(RevisionConflict) as caught:
            by_ada(world, hold, expected_revision=0)
        for words in ("revision 0", "revision 1", "operator:ada", "2026-11-21 12:00:00 UTC", "because"):
            assert words in str(caught.value)

    def test_what_is_impossible_now_because_somebody_was_first_is_a_conflict_too(self, world: World) -> None:
        by_ada(world, freeze)
        with pytest.raises(RevisionConflict):
            by_ada(world, lambda plan: moves.rollback(plan, **WHO), expected_revision=0)
        with pytest.raises(ReleaseRefused):
            by_ada(world, lambda plan: moves.rollback(plan, **WHO), expected_revision=1)

    def test_events_and_incident_are_part_of_the_change(self, world: World) -> None:
        event = OutboxEvent(
            id="alert-1",
            kind="alert",
            level="critical",
            model=MODEL,
            name="grownet.alert.critical",
            title="t",
            body={},
            at=NOON,
        )
        incident = Incident(
            id="i1",
            model=MODEL,
            level="critical",
            kind="errors",
            summary="s",
            evidence={},
            first_bad_at=None,
            detected_at=NOON,
        )
        plan = by_ada(world, freeze, events=[event], incident=incident)
        queued = outbox.pending(world.release, 10)
        assert [one.name for one in queued] == ["grownet.alert.critical", "grownet.release.changed"]
        assert "The plan is frozen." in queued[1].body["after"]
        told = incidents.incident(world.release, "i1")
        assert told.switched_at is not None
        assert told == replace(incident, switched_at=told.switched_at, revision=plan.revision)
        bad = replace(incident, id="i2")
        with pytest.raises(ReleaseRefused):
            by_ada(world, lambda plan: moves.rollback(plan, **WHO), events=[replace(event, id="x")], incident=bad)
        assert len(outbox.pending(world.release, 10)) == 2
        assert len(incidents.incidents(world.release)) == 1

    def test_a_role_that_writes_no_plans_is_refused(self, world: World) -> None:
        for role in ("flow", "serving", "reader"):
            with pytest.raises(RoleRefused):
                plans.change(world.ledgers[role], MODEL, freeze, signer=world.signer("operator:ada"), actor="ada")
        assert plans.current(world.release, MODEL) is None

    def test_time_never_runs_backwards(self, world: World) -> None:
        by_ada(world, freeze)
        by_ada(world, lambda plan: moves.hold(plan, at=NOON - timedelta(days=1), actor="x", reason="a slow clock"))
        assert [release.at for release in plans.releases(world.release, MODEL)] == [NOON, NOON]

    def test_what_was_current_when(self, world: World) -> None:
        by_ada(world, freeze)
        by_ada(world, lambda plan: moves.hold(plan, at=NOON + timedelta(hours=1), actor="x", reason="later"))
        seen = [plans.at(world.release, MODEL, NOON + timedelta(minutes=minutes)) for minutes in (-1, 0, 59, 60, 99)]
        assert [signed and signed.plan.revision for signed in seen] == [None, 1, 1, 2, 2]
        row = plans.release(world.release, MODEL, 1)
        assert row is not None
        assert row.signed.plan.frozen
        assert plans.release(world.release, MODEL, 3) is None


class TestBallot:
    def test_a_voted_arm_is_released_and_serves(self, world: World) -> None:
        plan = world.start(1, 0)
        assert plan.canary is not None
        verify_approval(plan.canary, Vault.open(world.folder, "reader").verifier.verify, model=MODEL, roles=ROLES)
        asked = ballots.ballots(world.release, MODEL)[0]
        assert (asked.status, asked.closed_reason) == ("released", "revision 1")
        row = plans.release(world.release, MODEL, 1)
        assert row is not None
        assert row.ballot == asked.id

    def test_carrying_out_a_ballot_again_changes_nothing(self, world: World) -> None:
        chosen, ballot = world.approved(1, 0)

        def start(plan: ReleasePlan) -> ReleasePlan:
            return moves.start_rollout(plan, chosen, ROLLOUT, "salt", lifts_freeze=False, **WHO)

        for _ in range(2):
            plan = plans.change(
                world.release, MODEL, start, signer=world.signer("release"), actor="release", ballot=ballot
            )
            assert plan.revision == 1
        world.advance()
        later = plans.change(
            world.release, MODEL, start, signer=world.signer("release"), actor="release", ballot=ballot
        )
        assert (later.revision, later.canary_percent) == (2, 5.0)  # the plan of now, untouched

    def test_without_an_approved_ballot_nothing_is_released(self, world: World) -> None:
        world.enrol()
        chosen = arm(1)
        asked = world.ask(subject(chosen, 0))
        world.cast(asked, "ada")
        for ballot, error in (("", "ballot first"), (asked.id, "approved")):
            with pytest.raises(ReleaseRefused, match=error):
                plans.change(
                    world.release,
                    MODEL,
                    lambda plan: moves.start_rollout(plan, chosen, ROLLOUT, "s", lifts_freeze=False, **WHO),
                    signer=world.signer("release"),
                    actor="release",
                    ballot=ballot,
                )

    def test_a_changed_base_voids_the_ballot(self, world: World) -> None:
        chosen, ballot = world.approved(1, 0)
        by_ada(world, freeze)
        by_ada(world, hold)
        with pytest.raises(RevisionConflict, match="revision 0"):
            plans.change(
                world.release,
                MODEL,
                lambda plan: moves.start_rollout(plan, chosen, ROLLOUT, "s", lifts_freeze=False, **WHO),
                signer=world.signer("release"),
                actor="release",
                ballot=ballot,
            )
        assert ballots.ballot(world.release, ballot).status == "approved"

    def test_an_operator_cannot_undo_and_a_ballot_can(self, world: World) -> None:
        world.enrol()
        by_ada(world, freeze)
        with pytest.raises(ReleaseRefused, match="unfreeze"):
            by_ada(world, lambda plan: moves.unfreeze(plan, **WHO))
        ballot = world.voted("unfreeze", 1)
        plan = plans.change(
            world.release,
            MODEL,
            lambda plan: moves.unfreeze(plan, **WHO),
            signer=world.signer("release"),
            actor="release",
            ballot=ballot,
        )
        assert (plan.revision, plan.frozen) == (2, False)

    def test_a_ballot_that_was_only_marked_as_approved_carries_nothing_out(self, world: World) -> None:
        world.enrol()
        by_ada(world, freeze)
        asked = world.ask(replace(subject(moves.RULES_ARM, 1, "unfreeze"), artifact=""))
        world.cast(asked, "ada")
        tamper(world, f"UPDATE ballots SET status = 'approved' WHERE id = '{asked.id}'")
        with pytest.raises(TamperError, match="votes that approve it"):
            plans.change(
                world.release,
                MODEL,
                lambda plan: moves.unfreeze(plan, **WHO),
                signer=world.signer("release"),
                actor="release",
                ballot=asked.id,
            )

    def test_a_whole_life(self, world: World) -> None:
        """Two releases, a canary that fails, a rollback, rules and back; every answer's plan can be found again."""
        world.promote(1, 0)
        plan = world.promote(2, 4)
        assert (plan.revision, plan.champion.number) == (8, 2)
        world.start(3, 8)
        guard: dict[str, Any] = {"signer": world.signer("guard"), "actor": "guard"}
        plan = plans.change(
            world.ledgers["guard"], MODEL, lambda now: moves.take_back(now, **WHO), expected_revision=9, **guard
        )
        assert len(plan.rejected) == 1
        assert by_ada(world, lambda now: moves.undo(now, **WHO)).champion.number == 1
        assert by_ada(world, lambda now: moves.fallback(now, **WHO)).mode == "rules"
        ballot = world.voted("restore", 12)
        plan = plans.change(
            world.release,
            MODEL,
            lambda now: moves.restore(now, **WHO),
            signer=world.signer("release"),
            actor="release",
            ballot=ballot,
        )
        assert (plan.revision, plan.mode, plan.champion.number) == (13, "model", 1)
        assert [signed.plan.revision for signed in plans.history(world.release, MODEL)] == list(range(1, 14))
        ring = Vault.open(world.folder, "reader").verifier
        for signed in plans.history(world.release, MODEL):
            plans.verify(signed, ring)
        assert audit.verify(world.release) > 13


class TestTampering:
    def test_a_plan_with_a_wrong_signature_stops_every_change(self, world: World) -> None:
        by_ada(world, freeze)
        tamper(world, """UPDATE releases SET payload = replace(payload, '"frozen":true', '"frozen":false')""")
        with pytest.raises(TamperError, match="signature"):
            by_ada(world, hold)

    def test_a_plan_by_an_unknown_key_is_not_believed(self, world: World, tmp_path: Path) -> None:
        by_ada(world, freeze)
        stranger = Vault.open(tmp_path / "elsewhere", "release").signer
        signed = plans.history(world.release, MODEL)[0]
        forged = stranger.sign(signed.payload.encode())
        tamper(world, f"UPDATE releases SET key = 'release', signature = '{forged}'")
        with pytest.raises(TamperError):
            by_ada(world, hold)

    def test_a_removed_revision_is_noticed(self, world: World) -> None:
        by_ada(world, freeze)
        by_ada(world, hold)
        tamper(world, "DELETE FROM releases WHERE revision = 1")
        with pytest.raises(TamperError, match="follows"):
            by_ada(world, lambda plan: moves.fallback(plan, **WHO))

    def test_an_older_plan_put_back_as_a_newer_one_is_noticed(self, world: World) -> None:
        by_ada(world, freeze)
        tamper(
            world,
            "INSERT INTO releases SELECT model, 2, at, actor, key, signature, ballot, audit, payload FROM releases",
        )
        with pytest.raises(TamperError, match="its own plan"):
            by_ada(world, hold)

    def test_a_plan_without_its_audit_entry_is_noticed(self, world: World) -> None:
        by_ada(world, freeze)
        tamper(world, "UPDATE releases SET audit = 'x'")
        with pytest.raises(TamperError, match="audit entry"):
            by_ada(world, hold)


class TestConcurrency:
    @staticmethod
    def race(world: World, base: int) -> list[object]:
        """Two threads that both decided on revision `base`: what each of them got."""
        barrier = threading.Barrier(2)
        seen: list[object] = []

        def run(name: str) -> None:
            ledger = Ledger.open(world.url, "operator")
            signer = Vault.open(world.folder, f"operator:{name}").signer
            barrier.wait(timeout=120)
            try:
                plan = plans.change(
                    ledger,
                    MODEL,
                    lambda now: replace(now, reason=name),
                    signer=signer,
                    actor=name,
                    expected_revision=base,
                )
                seen.append(plan.actor)
            except RevisionConflict as error:
                seen.append(error)
            finally:
                ledger.close()

        threads = [threading.Thread(target=run, args=(name,)) for name in ("ada", "ben")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        return seen

    def test_the_guard_of_an_older_epoch_is_refused(self, world: World) -> None:
        guard = world.ledgers["guard"]
        old = leases.acquire(guard, leases.GUARD, "guard-1", 10, at=NOON)
        new = leases.acquire(guard, leases.GUARD, "guard-2", 10, at=NOON + timedelta(seconds=11))
        acting: dict[str, Any] = {"signer": world.signer("guard"), "actor": "guard"}
        with pytest.raises(RevisionConflict, match="guard-2"):
            plans.change(guard, MODEL, freeze, epoch=old, **acting)
        assert plans.current(guard, MODEL) is None
        assert plans.change(guard, MODEL, freeze, epoch=new, **acting).frozen

    def test_of_two_releases_at_once_exactly_one_wins(self, world: World) -> None:
        """Two threads, each with a ledger of its own, decide on the same revision, again and again."""
        outcomes = [self.race(world, base) for base in range(6)]
        assert len(outcomes) == 6
        for seen in outcomes:
            winners = [one for one in seen if isinstance(one, str)]
            errors = [one for one in seen if isinstance(one, RevisionConflict)]
            assert (len(winners), len(errors)) == (1, 1)
            assert winners[0] in str(errors[0])
        assert len(plans.history(world.release, MODEL)) == 6
        assert audit.verify(world.release) == 6

    def test_two_processes_release_one_model_and_one_is_told_so(self, world: World) -> None:
        world.enrol()
        script = (
            "import sys\n"
            "from checks import plans as moves\n"
            "from errors import RevisionConflict\n"
            "from pathlib import Path\n"
            "from records import utc_now\n"
            "from stores.ledger import plans\n"
            "from stores.ledger.engine import Ledger\n"
            "from stores.vault import Vault\n"
            "ledger = Ledger.open(sys.argv[1], 'operator')\n"
            "signer = Vault.open(Path(sys.argv[2]), 'operator:' + sys.argv[3]).signer\n"
            "move = getattr(moves, sys.argv[4])\n"
            "print('ready', flush=True); sys.stdin.readline()\n"
            "try:\n"
            "    done = plans.change(ledger, 'recommendation', lambda plan: move(plan, at=utc_now(), actor='', reason='r'),\n"
            "                        signer=signer, actor='', expected_revision=0)\n"
            "    print('wrote', done.revision)\n"
            "except RevisionConflict as error:\n"
            "    print('conflict', error)\n"
        )
        command = [sys.executable, "-c", script, world.url, str(world.folder)]
        children = [
            subprocess.Popen([*command, name, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name, verb in (("ada", "freeze"), ("ben", "hold"))
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = sorted(child.communicate(timeout=60)[0].strip() for child in children)
        assert said[1] == "wrote 1"
        assert "expected revision 0, got revision 1, written by operator:" in said[0]
        assert len(plans.history(world.release, MODEL)) == 1

    def test_reviewers_of_the_world_are_the_required_ones(self) -> None:
        assert tuple(REVIEWERS.values()) == ROLES
