"""Feedback: genuine, of this house, once; kept across restarts."""

from typing import Any

import pytest

from records import Counter
from serving.house import Recent, Waiting
from stores.lookup import Located
from stores.segments import Place
from tests.serving.inside import Inside, inside
from tests.serving.town import NAME, Town, wait_for

BOUGHT = {"purchased": ["20000"]}


def give(service: Inside, identity: str, outcome: Any = None, **headers: str) -> tuple[int, Any]:
    body = {"prediction_id": identity, "outcome": BOUGHT if outcome is None else outcome}
    return service.call("feedback", body, **headers)


def test_the_first_feedback_counts_and_a_repeat_is_told_so(town: Town) -> None:
    with inside(town) as service:
        identity = service.ready().ask()["prediction_id"]
        first, second = give(service, identity), give(service, identity, {"purchased": []})
        assert first == (200, {"prediction_id": identity, "duplicate": False, "late": False, "counted": True})
        assert second == (200, {"prediction_id": identity, "duplicate": True, "late": False, "counted": False})
        assert [one.outcome for one in service.feedback()] == [BOUGHT]
        key = service.service.ring.find(f"Bearer {service.key}")
        assert key is not None
        assert service.feedback()[0].key == key.id


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        (lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), 403, "$.prediction_id"),
        (lambda text: text.replace(".v1.", ".v2.").replace(".v0.", ".v2."), 403, "$.prediction_id"),
        (lambda text: text.replace(NAME, "demand"), 422, "$.prediction_id"),
        (lambda text: "nonsense", 422, "$.prediction_id"),
        (lambda text: "", 422, "$.prediction_id"),
        (lambda text: "../../etc/passwd", 422, "$.prediction_id"),
        (lambda text: "é😀" * 1000, 422, "$.prediction_id"),
        (lambda text: 7, 422, "$.prediction_id"),
    ],
)
def test_forged_and_malformed_ids(town: Town, change: Any, status: int, field: str) -> None:
    with inside(town) as service:
        identity = service.ready().ask()["prediction_id"]
        got, reply = give(service, change(identity))
        assert (got, reply["error"]["field"]) == (status, field)
        assert service.feedback() == []


@pytest.mark.parametrize("outcome", [{}, {"purchased": "20000"}, {"purchased": [1]}, [], "bought", {"clicked": True}])
def test_a_malformed_outcome(town: Town, outcome: Any) -> None:
    with inside(town) as service:
        status, reply = give(service, service.ready().ask()["prediction_id"], outcome)
        assert status == 422
        assert reply["error"]["field"].startswith("$.outcome")


def minted(service: Inside, replica: str) -> str:
    house, view = service.service.house, service.desk.view
    assert view is not None
    from serving.answer import Choice

    house.replica = replica
    return house.new_id(view.plan, Choice("rules", None), 29_000_000)


def test_an_answer_that_is_in_no_journal_is_unknown(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        assert give(service, minted(service, "replica-1"))[0] == 404


def test_another_replica_s_answer_is_sent_there(town: Town) -> None:
    with inside(town) as service:
        identity = minted(service.ready(), "replica-2")
        service.service.house.replica = "replica-1"
        status, reply = give(service, identity)
    assert status == 421
    assert (reply["error"]["expected"], reply["error"]["got"]) == ("an answer of replica-1", "replica-2")


def test_an_outcome_before_its_answer_is_refused_and_may_be_sent_again(town: Town) -> None:
    with inside(town) as service:
        identity = service.ready().ask(x_event_time="2011-09-02T00:00:00Z")["prediction_id"]
        status, reply = give(service, identity, x_event_time="2011-09-01T00:00:00Z")
        assert (status, reply["error"]["field"]) == (422, "x-event-time")
        assert give(service, identity, x_event_time="2011-09-02T00:00:00Z")[1]["counted"]


def test_feedback_after_the_attribution_window_is_kept_and_not_counted(town: Town) -> None:
    from msgspec.structs import replace

    with inside(town) as service:
        view = service.ready().desk.view
        assert view is not None
        assert view.plan.rollout is not None
        identity = service.ask(x_event_time="2011-09-01T00:00:00Z")["prediction_id"]
        gates = replace(view.plan.rollout.gates, attribution_seconds=3600)
        plan = replace(view.plan, rollout=replace(view.plan.rollout, gates=gates))
        service.service._stop.set()  # the follower would put the voted window back
        for thread in service.service.local.threads[:-1]:
            thread.join()
        service.desk.view = replace(view, plan=plan)
        receipt = give(service, identity, x_event_time="2011-09-01T01:00:01Z")[1]
        assert (receipt["late"], receipt["counted"]) == (True, False)
        assert len(service.feedback()) == 1
        assert give(service, identity)[1]["duplicate"]
        assert not any(isinstance(one, Counter) and one.matured for one in service.journal())


def test_answers_of_before_a_restart_are_found_in_the_journal(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        fed, open_ = service.ask()["prediction_id"], service.ask({"customer": "6"})["prediction_id"]
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 2)
        give(service, fed)
    with inside(town) as service:
        service.ready()
        assert give(service, fed)[1]["duplicate"]
        assert give(service, open_)[1]["counted"]
        assert give(service, open_)[1]["duplicate"]
        salt = town.plan().salt
        wait_for(lambda: service.rows(salt)["control", 0].matured == 2)


def test_feedback_twice_at_once_counts_once(town: Town) -> None:
    import threading

    with inside(town) as service:
        identity = service.ready().ask()["prediction_id"]
    with inside(town) as service:  # both look it up in the journal
        service.ready()
        receipts: list[Any] = []
        threads = [threading.Thread(target=lambda: receipts.append(give(service, identity)[1])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(receipt["duplicate"] for receipt in receipts) == [False] + [True] * 5
        assert len(service.feedback()) == 1


def test_what_is_remembered_is_bounded() -> None:
    recent = Recent(limit=3)
    for n in range(10):
        recent.add(str(n), Waiting(place=Place(1, n, 1)))
    assert [recent.get(str(n)) is not None for n in range(10)] == [False] * 7 + [True] * 3
    known = recent.get("9")
    assert recent.found("9", Located(answer=Place(9, 9, 9), paired=None, fed=True)) is known
