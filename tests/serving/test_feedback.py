"""Feedback: genuine, of this house, once; kept across restarts."""

import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from records import Counter
from serving.house import Recent, Waiting
from serving.quota import Quota
from serving.wire import Refusal
from stores.lake import Lake
from stores.lookup import Located
from stores.segments import Place, closed, segments
from stores.shipping import clear, ship
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


def minted(service: Inside, replica: str, minute: int = 29_000_000) -> str:
    house, view = service.service.house, service.desk.view
    assert view is not None
    from serving.answer import Choice

    house.replica = replica
    return house.new_id(view.plan, Choice("rules", None), minute)


def test_an_answer_that_is_in_no_journal_is_unknown(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        begun = segments(service.service.house.journal.folder)[0].minute
        assert give(service, minted(service, "replica-1", begun + 2))[0] == 404
        # of a disk before this one, and nothing was shipped so far
        assert give(service, minted(service, "replica-1", begun - 2))[0] == 503


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
        wait_for(lambda: (row := service.rows(salt).get(("control", 0))) and row.matured == 2)


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


# ---- answers that were shipped and left the disk -------------------------------------------------


def shipped_and_gone(service: Inside) -> None:
    """What was sealed goes to the lake and leaves the disk, as the shipper does it; the newest segment stays."""
    town, folder = service.town, service.service.house.journal.folder
    lake = Lake(town.settings.lake_uri)
    ship(lake, folder, datetime.now(UTC), lambda damage: None)
    clear(lake, folder, datetime.now(UTC) + timedelta(days=1), lambda *_: True)
    assert len(closed(folder)) == 1


def rotated(service: Inside) -> None:
    """The open segment is sealed, and another one after it."""
    journal, before = service.service.house.journal, len(closed(service.service.house.journal.folder))
    for _ in range(2):
        service.ask()
        with journal._lock:
            journal._rotate()
    journal.flush()
    assert len(closed(journal.folder)) == before + 2


def test_feedback_for_an_answer_that_left_the_disk_joins_the_one_in_the_lake(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        known = [service.ask()["prediction_id"] for _ in range(3)]
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 3)
        assert give(service, known[0])[1]["counted"]
        rotated(service)
        shipped_and_gone(service)
        assert not any(one.prediction_id in known for one in service.answers())
        assert give(service, known[0])[1]["duplicate"]  # remembered
        assert give(service, known[1])[1]["counted"]  # remembered, but not where it stands now
        remembered = service.service.house.recent
        assert [remembered.get(one).shipped for one in known[:2]] == [None, None]  # type: ignore[union-attr]
    with inside(town) as service:  # nothing is remembered
        service.ready()
        assert [give(service, one)[1]["duplicate"] for one in known] == [True, True, False]
        assert give(service, known[2])[1]["duplicate"]
        unknown = minted(service, "replica-1")
        assert give(service, unknown)[0] == 404
        matured = [one for one in service.journal() if isinstance(one, Counter) and one.matured]
        assert {one.arm for one in matured} == {"control"}  # in pairs with the scores in the lake
        assert len(service.feedback()) == 2  # of the first one, it left with its answer


def test_while_the_lake_is_away_old_feedback_is_asked_to_come_back(town: Town) -> None:
    with inside(town) as service:
        identity = service.ready().ask()["prediction_id"]
        rotated(service)
        shipped_and_gone(service)
        lake, away = town.folder / "lake", town.folder / "away"
        assert str(lake) == town.settings.lake_uri
        service.service.house.recent._known.clear()
        lake.rename(away)
        assert give(service, identity)[0] == 503  # a folder that is not mounted looks like a lake without a journal
        lake.mkdir()
        (lake / "journal_answers").mkdir()
        (lake / "journal_answers" / "_delta_log").mkdir()
        (lake / "journal_answers" / "_delta_log" / f"{0:020d}.json").write_text("spoilt")
        status, reply = give(service, identity)
        assert (status, reply["error"]["field"]) == (503, "old answers")
        shutil.rmtree(lake)
        shutil.copytree(away, lake)
        for path in (lake / "journal_answers").rglob("*.parquet"):
            path.write_bytes(b"spoilt" * 20)
        status, reply = give(service, identity)
        assert (status, reply["error"]["field"], reply["error"]["got"]) == (503, "old answers", "none, or a slow one")
        shutil.rmtree(lake)
        away.rename(lake)
        assert give(service, identity)[1]["counted"]


# ---- only so much a minute -----------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute of the caps does not end."""
    monkeypatch.setattr("serving.feedback.time", SimpleNamespace(time=lambda: 0.0))


def test_more_feedback_than_a_minute_s_share_is_told_to_come_back(town: Town, still: None) -> None:
    town.configure({"feedback_per_minute": 4})
    with inside(town) as service:
        known = [service.ready().ask()["prediction_id"] for _ in range(5)]
        forged = known[0][:-1] + ("0" if known[0][-1] != "0" else "1")
        told = [give(service, one)[0] for one in (forged, *known)]
        assert sorted(told) == [200, 200, 200, 403, 429, 429]  # an attempt is an attempt
        other, service.key = service.key, town.key()
        wait_for(lambda: service.service.ring.find(f"Bearer {service.key}"))
        assert give(service, known[4])[0] == 200  # another key has a share of its own
        assert service.key != other
        assert service.service.house.metrics._counts["feedback"][NAME, "capped"] == 2


def test_one_subject_s_feedback_is_capped_and_others_are_not(town: Town, still: None) -> None:
    town.configure({"feedback_per_subject": 2})
    with inside(town) as service:
        mine = [service.ready().ask({"customer": "4"})["prediction_id"] for _ in range(3)]
        other = service.ask({"customer": "6"})["prediction_id"]
        assert [give(service, one)[0] for one in (*mine, other)] == [200, 200, 429, 200]


def test_a_new_minute_brings_a_new_share() -> None:
    quota = Quota(per_key=2, per_subject=1)
    for now in (0.0, 59.9):
        quota.of_key("k", now)
    with pytest.raises(Refusal) as told:
        quota.of_key("k", 59.5)
    assert told.value.status == 429
    assert told.value.headers == ((b"retry-after", b"1"),)
    quota.of_subject("k s", 59.9)
    quota.of_key("k", 60.0)
    quota.of_subject("k s", 60.0)
    with pytest.raises(Refusal):
        quota.of_subject("k s", 61.0)
