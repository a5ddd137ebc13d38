"""Following the plan: what is signed and newer, from the ledger or from the cache; what is not is told and left aside."""

import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from errors import WrongLedger
from records import Arm, ReleasePlan, ReplicaState, SignedPlan, Trip
from serving import admission
from serving.cache import Judged
from serving.service import Service
from stores.ledger import counters
from stores.ledger import plans as ledger_plans
from tests.serving.inside import Inside, hostile, inside
from tests.serving.town import NAME, Town, wait_for

BUSY_SECONDS = 8.0  # for what the machine does besides
PROMPT_SECONDS = 2.0 + BUSY_SECONDS  # design section 3: answers under an old revision end within two seconds


def state(town: Town) -> ReplicaState:
    return counters.replicas(town.ledgers["reader"], NAME)[0]


def trips(town: Town) -> list[Trip]:
    return counters.trips(town.ledgers["reader"], NAME)


def trouble(service: Inside) -> str:
    return " ".join(service.service.degraded)


def test_a_release_is_followed_at_once(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        plan = town.guard(moves.fallback)
        wait_for(lambda: service.ask()["revision"] == plan.revision, PROMPT_SECONDS)
        assert service.ask()["arm"] == "rules"


def test_the_replica_says_what_it_serves_after_each_switch_and_that_it_lives(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        champion = town.plan().champion.artifact
        assert champion is not None
        expected = {"champion": champion.content, "previous": "rules", "control": "rules"}
        wait_for(lambda: counters.replicas(town.ledgers["reader"], NAME))
        wait_for(lambda: state(town).loaded == expected)
        assert (state(town).replica, state(town).revision) == ("replica-1", 3)
        before = state(town).at
        wait_for(lambda: state(town).at > before)
        plan = town.begin(town.candidate(2))
        assert plan.canary is not None
        assert plan.canary.artifact is not None
        content = plan.canary.artifact.content
        wait_for(lambda: state(town).revision == 4 and state(town).loaded.get("canary") == content)


def test_a_canary_whose_bytes_were_changed_is_refused_and_the_champion_goes_on(town: Town) -> None:
    arm = town.candidate(2)
    assert arm.artifact is not None
    path = town.folder / "artifacts" / arm.artifact.content[:2] / f"{arm.artifact.content}.sealed"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with inside(town) as service:
        service.ready()
        town.begin(arm)
        town.guard(moves.advance)
        wait_for(lambda: trips(town))
        trip = trips(town)[0]
        assert (trip.arm, trip.artifact, trip.kind) == ("canary", arm.artifact.content, "refused")
        assert "bytes that do not open" in trip.reason
        wait_for(lambda: service.ask()["revision"] == 5)
        who = [town.dealt("canary"), town.dealt("champion"), *map(str, range(20))]
        replies = [service.ask({"customer": one}) for one in who]
        assert {reply["version"] for reply in replies} == {1}
        assert {reply["override"] for reply in replies} == {"", "not_loaded"}
        time.sleep(0.3)
        assert len({trip.id for trip in trips(town)}) <= 2  # once for each revision, not at each look
        assert "canary is not loaded" in trouble(service)


def test_bytes_that_are_not_there_yet_are_waited_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.follow.AGAIN_SECONDS", 0.1)
    arm = town.candidate(2)
    assert arm.artifact is not None
    path = town.folder / "artifacts" / arm.artifact.content[:2] / f"{arm.artifact.content}.sealed"
    path.rename(town.folder / "late")
    with inside(town) as service:
        service.ready()
        town.begin(arm)
        wait_for(lambda: "cannot be loaded" in trouble(service))
        (town.folder / "late").rename(path)
        service.ready()
        assert trips(town) == []


def written(town: Town, statement: str, *values: Any) -> None:
    """Somebody who has the ledger's file, and no key."""
    with sqlite3.connect(town.folder / "ledger.db") as connection:
        for name in ("releases_update", "releases_delete", "audit_update", "audit_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute(statement, values)
    connection.close()


def test_a_plan_with_a_wrong_signature_is_refused_and_the_old_one_goes_on(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        written(
            town,
            "INSERT INTO releases (model, revision, at, actor, key, signature, ballot, audit, payload) SELECT model, 4, at, "
            "actor, key, signature, '', 'x', replace(payload, '\"revision\":3', '\"revision\":4') FROM releases WHERE revision = 3",
        )
        wait_for(lambda: trips(town))
        assert (trips(town)[0].arm, trips(town)[0].artifact) == ("plan", "")
        assert "a signed plan" in trips(town)[0].reason
        assert service.ask()["revision"] == 3
        assert "a signed plan" in trouble(service)


def test_a_ledger_that_went_back_is_refused(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        written(town, "DELETE FROM releases WHERE revision = 3")
        wait_for(lambda: trips(town))
        assert "a revision above 3" in trips(town)[0].reason
        assert service.ask()["revision"] == 3


def test_a_ledger_with_another_history_is_refused(town: Town, tmp_path: Path) -> None:
    with inside(town) as service:
        service.ready()
        shutil.copy(town.folder / "ledger.db", tmp_path / "copy.db")
        plan = town.plan()
        written(town, "DELETE FROM audit WHERE hash = ?", plan.audit_head)
        town.guard(moves.freeze)
        wait_for(lambda: any("a ledger with audit entry" in trip.reason for trip in trips(town)))
        assert service.ask()["revision"] == 3


def test_without_the_ledger_the_canary_goes_after_max_age_and_comes_back(town: Town) -> None:
    town.configure({"max_age_seconds": 0.6})
    town.begin(town.candidate(2))
    town.guard(moves.advance)
    ledger, away = town.folder / "ledger.db", town.folder / "away.db"
    with inside(town) as service:
        service.revision(5)
        canary, champion = town.dealt("canary"), town.dealt("champion")
        wait_for(lambda: service.ask({"customer": canary})["arm"] == "canary")
        assert service.ask({"customer": champion})["arm"] == "champion"
        ledger.rename(away)
        wait_for(lambda: service.ask({"customer": canary})["override"] == "stale")
        reply = service.ask({"customer": canary})
        assert (reply["arm"], reply["version"], reply["revision"]) == ("champion", 1, 5)
        assert service.ask({"customer": champion})["override"] == ""
        assert service.service.ready
        assert "ledger" in trouble(service)
        away.rename(ledger)
        wait_for(lambda: service.ask({"customer": canary})["override"] == "")


def test_it_starts_and_serves_without_ledger_and_store(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        expected = service.ask(path="v1/predict")["decision"]
    (town.folder / "ledger.db").rename(town.folder / "away.db")
    (town.folder / "artifacts").rename(town.folder / "elsewhere")
    with inside(town) as service:
        wait_for(lambda: service.service.ready and service.desk.view and not service.desk.view.missing)
        reply = service.ask(path="v1/predict")
        assert (reply["decision"], reply["revision"], reply["version"]) == (expected, 3, 1)
        assert "no file" in trouble(service)


def test_a_cached_plan_with_a_wrong_signature_is_left_aside(town: Town) -> None:
    with inside(town) as service:
        service.ready()
    path = town.folder / "serving" / "replica-1" / NAME / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'\\"hold\\":false', b'\\"hold\\":true'))
    assert b'hold\\":true' in path.read_bytes()
    (town.folder / "ledger.db").rename(town.folder / "away.db")
    with inside(town) as service:
        assert service.call("predict", {})[0] == 503
        (town.folder / "away.db").rename(town.folder / "ledger.db")
        service.ready()
        assert service.ask()["revision"] == 3


def test_a_cached_plan_that_a_key_signed_and_nobody_judged_is_left_aside(town: Town) -> None:
    """Who holds the guard's key and this folder cannot end a freeze here while the ledger is away."""
    with inside(town) as service:
        service.ready()
    signer = town.signer("guard")
    payload = replace(town.plan(), revision=9, mode="rules", reason="mine").to_json()
    forged = SignedPlan(payload=payload.decode(), key=signer.id, signature=signer.sign(payload))
    path = town.folder / "serving" / "replica-1" / NAME / "plan.json"
    kept = Judged.from_json(path.read_bytes())
    path.write_bytes(replace(kept, signed=forged).to_json())
    (town.folder / "ledger.db").rename(town.folder / "away.db")
    with inside(town) as service:
        assert service.call("predict", {})[0] == 503
        (town.folder / "away.db").rename(town.folder / "ledger.db")
        service.ready()
        assert (service.ask()["revision"], service.ask()["version"]) == (3, 1)


def test_the_highest_revision_is_remembered_over_a_restart(town: Town) -> None:
    town.guard(moves.freeze)
    with inside(town) as service:
        service.revision(4)
    written(town, "DELETE FROM releases WHERE revision = 4")
    with inside(town) as service:
        wait_for(lambda: "a revision above 4" in trouble(service))
        assert service.ask()["revision"] == 4


def test_an_empty_ledger_in_place_of_the_right_one_is_refused(town: Town, tmp_path: Path) -> None:
    with inside(town) as service:
        service.ready()
    Town(tmp_path / "other").close()
    town.close()
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (town.folder / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "other" / "ledger.db", town.folder / "ledger.db")
    with inside(town) as service:
        wait_for(lambda: "no plan" in trouble(service))
        assert service.ask()["revision"] == 3


def test_a_locked_ledger_stops_nobody(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        lock = sqlite3.connect(town.folder / "ledger.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        try:
            begun = time.monotonic()
            assert {service.ask({"customer": str(number)})["revision"] for number in range(50)} == {3}
            assert time.monotonic() - begun < 5 + BUSY_SECONDS  # who waits for a lock does so for seconds, each time
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        plan = town.guard(moves.freeze)
        service.revision(plan.revision)


def test_the_break_glass_file_forces_the_rules_at_once_and_is_told(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        (town.folder / "ledger.db").rename(town.folder / "away.db")  # it needs nobody
        path = town.folder / "serving" / "replica-1" / "force-rules"
        path.write_text("the slates are nonsense\n")
        wait_for(lambda: service.ask()["override"] == "break_glass", PROMPT_SECONDS)
        reply = service.ask()
        assert (reply["arm"], reply["version"], reply["revision"]) == ("rules", 0, 3)
        assert "break glass: the slates are nonsense" in trouble(service)
        (town.folder / "away.db").rename(town.folder / "ledger.db")
        wait_for(lambda: trips(town))
        assert (trips(town)[0].reason, trips(town)[0].artifact) == ("break glass: the slates are nonsense", "")
        rules = {"champion": "rules", "previous": "rules", "control": "rules"}
        wait_for(lambda: [one.loaded for one in counters.replicas(town.ledgers["reader"], NAME)] == [rules])
        path.unlink()
        wait_for(lambda: service.ask()["override"] == "", PROMPT_SECONDS)


def test_a_break_glass_file_is_obeyed_from_the_first_request_after_a_start(town: Town) -> None:
    folder = town.folder / "serving" / "replica-1"
    folder.mkdir(parents=True)
    (folder / "force-rules").write_text("")
    with inside(town) as service:
        wait_for(lambda: service.desk.view)
        assert service.ask()["override"] == "break_glass"


def test_a_cache_that_was_deleted_is_written_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cache.CONFIRM_SECONDS", 0.0)
    with inside(town) as service:
        service.ready()
        shutil.rmtree(town.folder / "serving" / "replica-1" / NAME)
        wait_for((town.folder / "serving" / "replica-1" / NAME / "plan.json").exists)
        plan = town.begin(town.candidate(2))
        service.revision(plan.revision)
        assert service.service.local.dead == ()


def test_a_slow_artifact_does_not_delay_a_rollback(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    real, free = admission.admit, hostile(monkeypatch, [])

    def slow(arm: Any, door: Any) -> Any:
        if arm.number == 2:
            free.wait(60)
        return real(arm, door)

    monkeypatch.setattr("serving.admission.admit", slow)
    with inside(town) as service:
        service.ready()
        town.begin(town.candidate(2))
        wait_for(lambda: service.ask()["revision"] == 4)
        plan = town.guard(moves.fallback)
        wait_for(lambda: service.ask()["revision"] == plan.revision, PROMPT_SECONDS)
        free.set()


def test_a_version_that_hangs_while_it_loads_keeps_no_replica_from_being_ready(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.follow.LONG_SECONDS", 0.1)
    monkeypatch.setattr("serving.loader.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("serving.loader.LEAVE_SECONDS", 0.1)
    canary = town.begin(town.candidate(2)).canary
    assert canary is not None
    free, load = threading.Event(), admission.load

    def hang(arm: Arm, door: Any) -> Any:
        if arm.name == canary.name:
            free.wait(60)
        return load(arm, door)

    monkeypatch.setattr("serving.admission.load", hang)
    try:
        with inside(town) as service:
            wait_for(lambda: f"{canary.name} has been loading for more than" in " ".join(service.service.degraded))
            wait_for(lambda: service.service.ready)
            wait_for(lambda: service.ask(path="v1/predict")["name"] == f"{NAME}-v1")  # it may take that long, too
            assert not free.is_set()
    finally:
        free.set()


def test_a_demo_ledger_is_refused_at_the_start(town: Town) -> None:
    with pytest.raises(WrongLedger):
        Service(town.settings.model_copy(update={"demo": True}), town.config)


def test_a_candidate_nobody_can_read_does_not_stop_the_following(town: Town) -> None:
    town.begin(town.candidate(2))
    with inside(town) as service:
        service.revision(4)
        content = contents_of(town.plan().canary)
        written(
            town,
            "INSERT INTO candidates (id, model, artifact, at, payload) SELECT 'bad', model, ?, at, 'no json' FROM "
            "releases LIMIT 1",
            content,
        )
        plan = town.guard(moves.take_back)  # rejects that very artifact
        service.revision(plan.revision)
        plan = town.guard(moves.fallback)
        wait_for(lambda: service.ask()["revision"] == plan.revision, PROMPT_SECONDS)
        assert service.service.local.dead == ()


def test_what_a_row_or_a_client_raises_is_a_trouble_and_passes(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.follow.REFUSED_SECONDS", 0.1)
    real_admit, real_current, bad = admission.admit, ledger_plans.current, threading.Event()
    bad.set()

    def admit(arm: Any, door: Any) -> Any:
        if arm.number == 2 and bad.is_set():
            raise ZeroDivisionError("a client of a store")
        return real_admit(arm, door)

    def current(ledger: Any, model: str) -> Any:
        if unreadable.is_set():
            raise ValueError("a row nobody can read")
        return real_current(ledger, model)

    unreadable = threading.Event()
    monkeypatch.setattr("serving.admission.admit", admit)
    monkeypatch.setattr("serving.follow.plans.current", current)
    with inside(town) as service:
        service.ready()
        town.begin(town.candidate(2))
        wait_for(lambda: "ZeroDivisionError: a client of a store" in trouble(service))
        assert trips(town) == []  # nobody rejects an artifact over that
        plan = town.guard(moves.hold)
        wait_for(lambda: service.ask()["revision"] == plan.revision)
        bad.clear()
        service.ready()
        unreadable.set()
        wait_for(lambda: "ValueError: a row nobody can read" in trouble(service))
        time.sleep(0.3)
        assert len([line for line in caplog.messages if "a row nobody can read" in line]) == 1
        unreadable.clear()
        plan = town.guard(moves.fallback)
        service.revision(plan.revision)


def test_a_refused_plan_is_judged_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.follow.AGAIN_SECONDS", 0.2)
    with inside(town) as service:
        service.ready()
        head = town.plan().audit_head
        written(town, "UPDATE audit SET hash = 'elsewhere' WHERE hash = ?", head)
        plan = town.guard(moves.freeze)
        wait_for(lambda: trips(town))
        written(town, "UPDATE audit SET hash = ? WHERE hash = 'elsewhere'", head)
        service.revision(plan.revision)
        assert len(trips(town)) == 1


def contents_of(arm: Arm | None) -> str:
    assert arm is not None
    assert arm.artifact is not None
    return arm.artifact.content


def slipped_in(town: Town, plan: ReleasePlan, holder: str) -> ReleasePlan:
    """Somebody with a key and the ledger's file writes a plan past `plans.change`."""
    first, *_, last = ledger_plans.releases(town.ledgers["reader"], NAME)
    after = replace(plan, revision=last.revision + 1, audit_head=first.audit)  # an entry that is there
    signer = town.signer(holder)
    values = (after.revision, signer.id, signer.sign(after.to_json()), last.audit + "x", after.to_json().decode())
    written(
        town,
        "INSERT INTO releases (model, revision, at, actor, key, signature, ballot, audit, payload) "
        "SELECT model, ?, at, actor, ?, ?, '', ?, ? FROM releases WHERE revision = 1",
        *values,
    )
    return after


def test_a_restore_that_an_operator_signed_alone_is_refused(town: Town) -> None:
    fallen = town.guard(moves.fallback)
    with inside(town) as service:
        service.revision(fallen.revision)
        slipped_in(town, replace(fallen, mode="model"), "operator:mallory")
        wait_for(lambda: trips(town))
        assert "approved ballot to restore" in trips(town)[0].reason
        assert (service.ask()["revision"], service.ask()["arm"]) == (fallen.revision, "rules")


def test_what_was_skipped_is_judged_too_also_from_the_beginning(town: Town) -> None:
    fallen = town.guard(moves.fallback)
    with inside(town) as service:
        service.revision(fallen.revision)
    restored = slipped_in(town, replace(fallen, mode="model"), "operator:mallory")
    slipped_in(town, replace(restored, frozen=True), "guard")  # this step is the guard's to make
    with inside(town) as service:
        wait_for(lambda: "approved ballot to restore" in trouble(service))
        assert service.ask()["arm"] == "rules"
    shutil.rmtree(town.folder / "serving" / "replica-1")  # a replica that knows nothing
    with inside(town) as service:
        wait_for(lambda: "approved ballot to restore" in trouble(service))
        assert service.call("predict", {})[0] == 503


def test_a_release_key_without_a_ballot_and_a_missing_revision_are_refused(town: Town) -> None:
    fallen = town.guard(moves.fallback)
    with inside(town) as service:
        service.revision(fallen.revision)
        slipped_in(town, replace(fallen, mode="model"), "release")
        wait_for(lambda: "ballot ''" in trouble(service))
        written(town, "UPDATE releases SET revision = 6 WHERE revision = 5")
        slipped_in(town, replace(fallen, hold=True), "guard")
        written(town, "DELETE FROM releases WHERE revision = 6")
        wait_for(lambda: "expected revision 5" in trouble(service))
        assert service.ask()["revision"] == fallen.revision


def test_a_restore_by_vote_is_followed(town: Town) -> None:
    fallen = town.guard(moves.fallback)
    with inside(town) as service:
        service.revision(fallen.revision)
        plan = ledger_plans.change(
            town.release,
            NAME,
            lambda plan: moves.restore(plan, at=plan.created_at, actor="release", reason="voted"),
            signer=town.signer("release"),
            actor="release",
            ballot=town.voted("restore", fallen.revision),
        )
        service.revision(plan.revision)
        assert service.ask()["arm"] == "champion"


def test_a_plan_that_forgets_a_rejected_artifact_is_refused(town: Town) -> None:
    town.begin(town.candidate(2))
    plan = town.guard(moves.take_back)
    with inside(town) as service:
        service.revision(plan.revision)
        slipped_in(town, replace(plan, rejected=()), "guard")
        wait_for(lambda: "rejected ones to stay rejected" in trouble(service))
        assert service.ask()["revision"] == plan.revision


def test_an_artifact_that_is_rejected_does_not_answer(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        plan = town.plan()  # no transition of ours leads there any more: a ledger of before may hold it
        slipped_in(town, replace(plan, rejected=(contents_of(plan.champion),)), "guard")
        wait_for(lambda: service.ask()["override"] == "not_loaded")
        assert service.ask()["version"] == 0
        wait_for(lambda: [trip.kind for trip in trips(town)] == ["refused"])
    with inside(town) as service:  # nor after a restart
        wait_for(lambda: "rejected for good" in trouble(service))
        assert service.ask()["version"] == 0
