"""One request inside the service: masked, dealt, answered in time, written before the reply."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from checks import plans as moves
from errors import InputError, NotFound
from stores.ledger import counters
from stores.lookup import read
from tests.serving.inside import BOOM, CUSTOMERS, HANG, NAN, Inside, hostile, inside
from tests.serving.town import NAME, PATIENT, Town, wait_for


def test_an_answer_is_in_the_journal_and_nothing_raw_is(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        reply = service.ask({"customer": "4 Raw Subject", "k": 3})
        line = read(town.folder / "journal", reply["prediction_id"]).answer
    assert (line.arm, line.version, line.revision) == (reply["arm"], reply["version"], reply["revision"])
    assert line.decision == reply["decision"]
    assert line.subject == town.pseudonym("4 Raw Subject")
    assert line.features["customer"] == line.subject
    written = [path for path in (town.folder / "journal").rglob("*") if path.is_file()]
    written += [path for path in (town.folder / "serving").rglob("*") if path.is_file()]
    assert len(written) > 3
    assert [path for path in written if b"Raw Subject" in path.read_bytes()] == []


def test_a_known_customer_gets_what_goes_with_what_they_bought(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        reply = service.ask({"customer": "0", "k": 4, "exclude_bought": False}, "v1/predict")
        unknown = service.ask({"customer": "nobody", "recent": ["no such code"]}, "v1/predict")
    assert (reply["model"], reply["name"], reply["version"], reply["arm"]) == (NAME, "recommendation-v1", 1, "champion")
    assert len(reply["decision"]["items"]) == 4
    assert {item[:2] for item in reply["decision"]["items"]} == {"20"}  # the first family
    assert len(unknown["decision"]["items"]) == 10


def test_one_by_one_or_in_a_batch_the_answers_are_the_same(town: Town) -> None:
    who = {*CUSTOMERS, town.dealt("champion"), town.dealt("control")}
    requests = [{"customer": customer} for customer in sorted(who)]
    with inside(town) as service:
        service.ready()
        batch = service.ask({"requests": requests})["answers"]
        single = [service.ask(request) for request in requests]
    assert {one["arm"] for one in batch} == {"champion", "control"}  # a batch may meet several arms
    assert [(one["arm"], one["decision"]) for one in batch] == [(one["arm"], one["decision"]) for one in single]
    assert len({one["prediction_id"] for one in batch + single}) == 2 * len(requests)


def test_the_canary_answers_who_it_is_dealt_and_always_the_same(town: Town) -> None:
    town.begin(town.candidate(2))
    town.guard(moves.advance)
    with inside(town) as service:
        service.revision(5)
        who = {*CUSTOMERS, town.dealt("champion"), town.dealt("canary")}
        arms = {customer: service.ask({"customer": customer})["arm"] for customer in who}
        again = {customer: service.ask({"customer": customer})["arm"] for customer in who}
    assert set(arms.values()) == {"champion", "canary"}
    assert arms == again


def champions(service: Inside, count: int) -> list[str]:
    """Customers that the champion answers."""
    found = [customer for customer in CUSTOMERS if service.ask({"customer": customer})["arm"] == "champion"]
    return found[:count]


@pytest.mark.parametrize("word", [BOOM, NAN])
def test_a_failing_model_costs_nothing_but_the_rules(town: Town, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    hostile(monkeypatch, [1])
    with inside(town) as service:
        customer = champions(service.ready(), 1)[0]
        reply = service.ask({"customer": customer, "recent": [word]})
        line = service.line(reply)
        assert (reply["arm"], reply["version"], reply["override"]) == ("rules", 0, "error")
        assert len(reply["decision"]["items"]) == 10
        assert (line.failed_arm, line.failed_version, line.artifact) == ("champion", 1, "")
        assert service.ask({"customer": customer})["override"] == ""


def test_an_arm_that_fails_too_often_is_dropped_until_the_next_revision(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(monkeypatch, [1])
    from stores.ledger import counters

    with inside(town) as service:
        customer = champions(service.ready(), 1)[0]
        overrides = [service.ask({"customer": customer, "recent": [BOOM]})["override"] for _ in range(7)]
        assert overrides == ["error"] * 5 + ["tripped"] * 2
        reply = service.ask({"customer": customer})
        assert (reply["arm"], reply["name"], reply["override"]) == ("previous", "rules", "tripped")
        assert "was dropped here" in service.service.degraded[0]
        wait_for(lambda: counters.trips(town.ledgers["reader"], NAME))
        trip = counters.trips(town.ledgers["reader"], NAME)[0]
        assert (trip.arm, trip.kind, trip.replica, trip.revision) == ("champion", "dropped", "replica-1", 3)
        assert "5 errors within 10 s, last: ZeroDivisionError" in trip.reason
        town.guard(moves.freeze)
        service.revision(4)
        assert service.ask({"customer": customer})["override"] == ""


def test_a_hanging_model_is_answered_for_within_the_deadline_and_blocks_nobody(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.configure({}, deadline=0.5)
    monkeypatch.setattr("serving.desk.HANGS_AFTER", 2)
    free = hostile(monkeypatch, [1])
    with inside(town) as service:
        one, other = champions(service.ready(), 2)
        begun = time.monotonic()
        reply = service.ask({"customer": one, "recent": [HANG]})
        took = time.monotonic() - begun
        assert (reply["arm"], reply["override"]) == ("rules", "deadline")
        assert 0.5 <= took < 0.5 + PATIENT  # the call itself hangs for a minute
        assert service.line(reply).failed_arm == "champion"
        wait_for(lambda: service.ask({"customer": other})["override"] == "")  # the arm has another thread
        assert not free.is_set()
        service.ask({"customer": one, "recent": [HANG]})
        wait_for(lambda: service.desk.view and service.desk.view.tripped)  # both its threads are lost
        reply = service.ask({"customer": other})
        assert (reply["arm"], reply["override"]) == ("previous", "tripped")
        free.set()


def test_the_rules_of_a_batch_block_nobody(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.guard(moves.fallback)
    begun, free = threading.Event(), threading.Event()

    def slow(index: Any, requests: Any) -> Any:
        begun.set()
        assert len(requests) == 1 or free.wait(60)
        return real(index, requests)

    with inside(town) as service, ThreadPoolExecutor(1) as caller:
        model = service.revision(4).desk.model
        real = model.rules
        monkeypatch.setattr(model, "rules", slow)
        batch = caller.submit(service.ask, {"requests": [{"customer": "4"}] * 2})
        assert begun.wait(60)
        single = service.ask({"customer": "4"})
        assert not batch.done()
        free.set()
        answers = batch.result(60)["answers"]
    assert [one["decision"] for one in answers] == [single["decision"]] * 2
    assert {one["arm"] for one in answers} == {"rules"}


@pytest.mark.parametrize(("error", "status"), [(InputError("$.k", got=1), 422), (ZeroDivisionError("boom"), 500)])
def test_rules_that_fail_a_batch_say_so_and_tell_no_trace(
    town: Town, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    town.guard(moves.fallback)

    def broken(*_: Any) -> Any:
        raise error

    with inside(town) as service:
        monkeypatch.setattr(service.revision(4).desk.model, "rules", broken)
        told = service.call("predict", {"requests": [{"customer": "4"}] * 2})
    assert told[0] == status
    assert "boom" not in str(told)


def test_batches_beyond_what_may_wait_for_the_rules_are_told_to_come_back(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.guard(moves.fallback)
    with inside(town) as service:
        service.revision(4)
        monkeypatch.setattr(service.desk.rules, "offer", lambda job: False)
        status, reply = service.call("predict", {"requests": [{"customer": "4"}] * 2})
    assert (status, reply["error"]["field"]) == (503, f"the rules of {NAME}")


def test_event_time_is_the_answer_s_own(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        line = service.line(service.ask(x_event_time="2011-09-01T12:00:00+02:00"))
    assert line.event_time.isoformat() == "2011-09-01T10:00:00+00:00"
    assert line.received_at.year >= 2026
    assert line.latency_us > 0


def test_a_version_may_be_asked_for(town: Town) -> None:
    town.begin(town.candidate(2))
    town.guard(moves.take_back)
    with inside(town) as service:
        service.revision(5)
        reply = service.ask(path="v1/predict")
        assert (reply["version"], reply["arm"], service.line(reply).salt) == (1, "champion", "")
        assert service.ask(path="v0/predict")["name"] == "rules"  # the previous one
        assert service.call("v9/predict", {})[0] == 404
        town.guard(moves.fallback)
        service.revision(6)
        assert service.ask(path="v1/predict")["arm"] == "rules"  # rules mode wins


def test_a_version_that_was_taken_back_is_gone(town: Town) -> None:
    from stores.ledger import evidence

    arm = town.candidate(2)
    evidence.save_candidate(town.ledgers["flow"], town.record(arm))
    town.begin(arm)
    town.guard(moves.take_back)
    with inside(town) as service:
        service.revision(5)
        status, reply = service.call("v2/predict", {})
    assert status == 410
    assert "rejected" in reply["error"]["got"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({"requests": []}, "$.requests"), ({"requests": [{}] * 1001}, "$.requests"), ({"k": 101}, "$.k")],
)
def test_too_few_too_many_too_much(town: Town, body: Any, field: str) -> None:
    with inside(town) as service:
        status, reply = service.ready().call("predict", body)
    assert (status, reply["error"]["field"]) == (422, field)


def test_without_a_plan_and_without_a_ledger_there_is_no_answer(empty: Town) -> None:
    (empty.folder / "ledger.db").rename(empty.folder / "away.db")
    with inside(empty) as service:
        status, reply = service.call("predict", {})
        assert (status, reply["error"]["field"]) == (503, f"model {NAME}")
        assert not service.service.ready
        (empty.folder / "away.db").rename(empty.folder / "ledger.db")
        wait_for(lambda: service.service.ready)
        assert service.ask()["arm"] == "rules"


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_on_a_full_disk_the_rules_answer_and_say_that_nobody_wrote_it_down(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.configure({"journal_reserve_bytes": 0})
    with inside(town) as service:
        service.ready()
        monkeypatch.setattr("os.write", full)
        many = service.ask({"requests": [{"customer": "4"}, {"customer": "6"}]})["answers"]
        for reply in (service.ask(), *many):
            assert (reply["override"], reply["arm"], reply["journalled"]) == ("journal", "rules", False)
            assert reply["prediction_id"] == ""
            assert reply["decision"]["items"]
        status, reply = service.call("feedback", {"prediction_id": "", "outcome": {"purchased": []}})
        assert status == 422
        assert service.service.ready
        wait_for(lambda: any("nothing can be written" in one for one in service.service.degraded))
        wait_for(lambda: counters.trips(town.ledgers["reader"], NAME))
        (trip,) = counters.trips(town.ledgers["reader"], NAME)
        assert (trip.arm, trip.reason) == ("journal", service.service.house.journal.trouble)
        monkeypatch.undo()
        reply = service.ask()
        assert "journalled" not in reply
        assert [one.prediction_id for one in service.answers() if not one.paired_with] == [reply["prediction_id"]]
        assert service.service.degraded == []


def test_where_it_is_wanted_so_nothing_leaves_that_is_not_journalled(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.configure({"journal_full": "refuse", "journal_reserve_bytes": 0})
    with inside(town) as service:
        service.ready()
        monkeypatch.setattr("os.write", full)
        status, reply = service.call("predict", {})
        monkeypatch.undo()
        assert status == 503
        assert "No space left" in reply["error"]["got"]
        assert service.ask()["model"] == NAME


def test_an_answer_nobody_gave_is_not_in_the_journal(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path, "recommendation.rules.v0.r0.1.replica-1.00000000-0." + "0" * 32)


def test_the_features_of_a_sample_only(town: Town) -> None:
    town.configure({"features_per_second": 0})
    with inside(town) as service:
        assert service.line(service.ready().ask()).features is None
