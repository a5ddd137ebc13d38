"""Scores beside the answer: journalled, compared once, dropped when there are too many, never in the way."""

import threading
from types import ModuleType
from typing import Any, cast

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.tallies import UNSEEN
from models import contract
from models.recommendation import Outcome
from records import Answer, Counter
from serving.pairs import matured
from stores.lookup import read
from tests.serving.inside import BOOM, HANG, Inside, hostile, inside
from tests.serving.town import AS_OF, NAME, Town, wait_for

MODEL = contract.find(NAME)
ITEMS = ("20000", "20017", "20034")


def line(arm: str, version: int, items: tuple[str, ...], **changes: Any) -> Answer:
    made = Answer(
        prediction_id="id", model=NAME, arm=arm, version=version, artifact="", revision=4,
        event_time=AS_OF.replace(hour=9, minute=59, second=1), received_at=AS_OF, subject="p1_1", bucket=17, salt="s",
        decision={"items": list(items), "scores": [], "value": None, "overruled": []},
    )  # fmt: skip
    return replace(made, **changes)


def row(counter: Counter | None) -> tuple[Any, ...]:
    assert counter is not None
    assert (counter.bucket, counter.hour.hour, counter.hour.minute, counter.salt) == (17, 9, 0, "s")
    assert (counter.answers, counter.errors, counter.late, counter.matured) == (0, 0, 0, 1)
    return (counter.arm, counter.version, counter.total, counter.other_total, counter.cross)


BOUGHT = Outcome(purchased=("20000",))


@pytest.mark.parametrize("swap", [False, True])
def test_a_pair_counts_in_the_row_of_the_judged_arm_whoever_was_live(swap: bool) -> None:
    canary, champion = line("canary", 2, ITEMS), line("champion", 1, ("21000",))
    live, other = (champion, canary) if swap else (canary, champion)
    assert row(matured(MODEL, live, other, BOUGHT)) == ("canary", 2, 1.0, 0.0, 0.0)
    control = replace(champion, arm="control", version=0)
    live, other = (replace(canary, arm="champion"), control)
    if swap:
        live, other = other, live
    assert row(matured(MODEL, live, other, BOUGHT)) == ("control", 0, 0.0, 1.0, 0.0)


def test_both_right_is_a_product() -> None:
    pair = matured(MODEL, line("canary", 2, ITEMS), line("champion", 1, ITEMS), BOUGHT)
    assert row(pair) == ("canary", 2, 1.0, 1.0, 1.0)
    assert pair is not None
    assert (pair.squares, pair.other_squares) == (1.0, 1.0)


def test_half_a_pair_says_nothing_of_a_judged_arm() -> None:
    assert matured(MODEL, line("canary", 2, ITEMS), None, BOUGHT) is None
    assert matured(MODEL, line("control", 2, ITEMS), None, BOUGHT) is None
    assert row(matured(MODEL, line("champion", 1, ITEMS), None, BOUGHT)) == ("champion", 1, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["ranking", "similar_content"])
def test_where_the_outcome_depends_on_the_answer_a_shadow_has_none(name: str) -> None:
    """What followed the champion's slate would make any other look worse, and in later steps the rows would be taken for pairs."""
    split = contract.find(name)
    assert split.JUDGE == "split"
    decided = {"items": ["a", "b"], "scores": [1.0, 0.5], "value": None, "overruled": []}
    live = line("champion", 1, ("a", "b"), model=name, decision=decided)
    shadow = replace(live, arm="canary", version=2, decision={**decided, "items": ["b", "a"]})
    outcome = split.Outcome(**({"clicked": "a"} if name == "ranking" else {"visited": ("/a",)}))
    counted = matured(split, live, shadow, outcome)
    assert counted == matured(split, live, None, outcome)
    assert row(counted)[:2] == ("champion", 1)
    assert row(counted)[3:] == (0.0, 0.0)
    live, shadow = replace(live, arm="canary", version=2), replace(shadow, arm="champion", version=1)
    assert row(matured(split, live, shadow, outcome))[:2] == ("canary", 2)


def test_the_shadow_of_a_split_model_counts_what_it_scored_and_no_pair(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop's own model, judged as clicks are."""
    module = ModuleType("split")
    module.__dict__.update({**cast(ModuleType, MODEL).__dict__, "JUDGE": "split"})
    monkeypatch.setattr(contract, "find", lambda name: module)
    with inside(town) as service:
        salt = shadow(town, service)
        replies = send(service, 20)
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 20)
        for reply in replies:
            assert report(service, reply, reply["decision"]["items"][0])["counted"]
        wait_for(lambda: service.rows(salt).get(("champion", 1)) and service.rows(salt)["champion", 1].matured == 20)
        rows = service.rows(salt)
    assert {key: (row.answers, row.matured, row.total, row.other_total) for key, row in rows.items()} == {
        ("champion", 1): (20, 20, 20.0, 0.0),
        ("canary", 2): (20, 0, 0.0, 0.0),
        (UNSEEN, 2): (20, 0, 0.0, 0.0),
    }


def send(service: Inside, count: int, basket: str = "") -> list[dict[str, Any]]:
    recent = [basket] if basket else []
    return [service.ask({"customer": f"c{n}", "recent": recent}) for n in range(count)]


def report(service: Inside, reply: dict[str, Any], *items: str) -> dict[str, Any]:
    outcome = {"purchased": list(items)}
    receipt: dict[str, Any] = service.ask({"prediction_id": reply["prediction_id"], "outcome": outcome}, "feedback")
    return receipt


def shadow(town: Town, service: Inside, percent_steps: int = 0) -> str:
    """Starts version 2 beside version 1; the salt of the rollout."""
    plan = town.begin(town.candidate(2))
    for _ in range(percent_steps):
        plan = town.guard(moves.advance)
    service.revision(plan.revision)
    return plan.salt


def test_a_shadow_scores_every_request_and_is_judged_with_its_feedback(town: Town) -> None:
    with inside(town) as service:
        salt = shadow(town, service)
        replies = send(service, 20)
        assert {reply["arm"] for reply in replies} == {"champion"}
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 20)
        for reply in replies:
            receipt = report(service, reply, reply["decision"]["items"][0])
            assert receipt == {**receipt, "counted": True, "duplicate": False}
        wait_for(lambda: ("canary", 2) in service.rows(salt) and service.rows(salt)["canary", 2].matured == 20)
        rows = service.rows(salt)
    canary, champion = rows["canary", 2], rows["champion", 1]
    assert (canary.answers, canary.errors, canary.total, canary.other_total, canary.cross) == (20, 0, 20, 20, 20)
    assert (champion.answers, champion.matured) == (20, 0)
    found = read(town.folder / "journal", replies[0]["prediction_id"])
    assert found.paired is not None
    assert (found.paired.arm, found.paired.version) == ("canary", 2)
    assert found.feedback is not None


def test_beside_live_traffic_the_second_scores_have_a_row_of_their_own(town: Town) -> None:
    with inside(town) as service:
        salt = shadow(town, service, 1)
        arms = [reply["arm"] for reply in send(service, 30)]
        wait_for(lambda: sum(one.answers for one in service.rows(salt).values()) == 60)
        rows = service.rows(salt)
    assert rows["canary", 2].answers == arms.count("canary") > 0
    assert rows["champion", 1].answers == arms.count("champion") > 0
    assert rows["shadow", 2].answers == rows["champion", 1].answers
    assert rows["shadow", 1].answers == rows["canary", 2].answers


def test_after_the_release_the_control_is_compared_with_the_champion(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        salt = town.plan().salt
        replies = send(service, 30)
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 30)
        for reply in replies:
            report(service, reply, "no such thing")
        wait_for(lambda: service.rows(salt).get(("control", 0)) and service.rows(salt)["control", 0].matured == 30)
        control = service.rows(salt)["control", 0]
    assert (control.total, control.other_total) == (0, 0)
    assert control.answers == sum(reply["arm"] == "control" for reply in replies)


def test_feedback_that_comes_before_the_second_score_is_counted_with_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = hostile(monkeypatch, [2])
    with inside(town) as service:
        salt = shadow(town, service)
        reply = send(service, 1, HANG)[0]
        assert report(service, reply, reply["decision"]["items"][0])["counted"]
        assert not any(isinstance(entry, Counter) for entry in service.journal())
        free.set()
        wait_for(lambda: ("canary", 2) in service.rows(salt) and service.rows(salt)["canary", 2].matured == 1)


def test_a_failing_shadow_is_data_and_is_dropped_when_it_fails_too_often(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(monkeypatch, [2])
    with inside(town) as service:
        salt = shadow(town, service)
        replies = send(service, 5, BOOM)
        assert {(reply["arm"], reply["override"]) for reply in replies} == {("champion", "")}
        wait_for(lambda: service.desk.view and service.desk.view.tripped)
        wait_for(lambda: ("canary", 2) in service.rows(salt) and service.rows(salt)["canary", 2].errors == 5)
        assert service.rows(salt)["canary", 2].answers == 5
        receipt = report(service, replies[0], "20000")
        assert receipt["counted"]  # for the champion alone: there is no pair
        assert [one.override for one in service.answers() if one.paired_with] == ["error"] * 5
        assert send(service, 1)[0]["override"] == ""


def test_a_hanging_shadow_delays_nobody_and_what_does_not_fit_is_dropped(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.configure({"shadow_queue": 3}, deadline=5.0)
    free = hostile(monkeypatch, [2])
    with inside(town) as service:
        shadow(town, service)
        replies = send(service, 1, HANG)
        assert service.desk.view is not None
        at_it = service.desk.view.loaded_arms["canary"].beside
        wait_for(lambda: at_it.stuck_seconds > 0)  # with the first; three may wait behind it
        replies += send(service, 11, HANG)
        assert {(reply["arm"], reply["override"]) for reply in replies} == {("champion", "")}
        dropped = service.service.house.metrics.page("r").decode()
        assert 'grownet_beside_total{model="recommendation",replica="r",result="dropped"} 8.0' in dropped
        free.set()
        wait_for(lambda: sum(bool(one.paired_with) for one in service.answers()) == 4)


def test_a_shadow_that_never_returns_is_dropped(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.configure({}, deadline=2.0)
    monkeypatch.setattr("serving.desk.HANGS_AFTER", 1)
    free = hostile(monkeypatch, [2])
    with inside(town) as service:
        shadow(town, service)
        send(service, 1, HANG)
        wait_for(lambda: service.desk.view and service.desk.view.tripped)
        assert send(service, 1)[0]["override"] == ""
        free.set()


def test_threads_of_arms_that_left_end(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.follow.LEAVE_SECONDS", 0.0)
    with inside(town) as service:
        shadow(town, service)
        send(service, 3)
        names = {thread.name for thread in threading.enumerate()}
        assert "recommendation-v2-beside" in names
        plan = town.guard(moves.take_back)
        service.revision(plan.revision)
        wait_for(lambda: "recommendation-v2-beside" not in {thread.name for thread in threading.enumerate()})
