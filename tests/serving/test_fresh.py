"""A replica's features stay fresh: what the refresh flow signed is swapped in whole, what is not right is told and left."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from checks import plans as moves
from errors import AdmissionRefused
from records import Answer, Arm, Artifact, FeatureSet, Refreshed, Trip, utc_now
from serving import gauges
from serving.fresh import believe, renewed
from stores.ledger import counters, snapshots
from tasks import operate, trace
from tests.serving.inside import Inside, inside
from tests.serving.market import NEWCOMER, Market, later
from tests.serving.town import NAME, wait_for
from tests.stores.ledger.world import by_hand


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market with version 2 as champion and version 1 as previous and control."""
    home = tmp_path_factory.mktemp("market")
    market = Market(home)
    market.released(1)
    market.released(2)
    market.close()
    return home


@pytest.fixture
def market(opened: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    monkeypatch.setattr("serving.fresh.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("serving.fresh.AGAIN_SECONDS", 0.2)
    shutil.copytree(opened, tmp_path / "home")
    made = Market(tmp_path / "home")
    yield made
    made.close()


def refreshed(market: Market, batch: str = "b2", days: int = 5) -> Refreshed:
    """The champion's newest snapshot, after a refresh from later orders."""
    market.take_in(later(days), batch)
    assert {one.result for one in market.refresh()} == {"published"}
    return market.newest(market.plan().champion)


def numbers(service: Inside) -> dict[str, int]:
    """The refresh that each arm in memory answers with."""
    view = service.desk.view
    return {name: one.refresh for name, one in view.loaded_arms.items()} if view else {}


def everywhere(number: int) -> dict[str, int]:
    return dict.fromkeys(("champion", "previous", "control"), number)


def trips(market: Market) -> list[Trip]:
    return counters.trips(market.ledgers["reader"], NAME)


def trouble(service: Inside) -> str:
    return " ".join(service.service.degraded)


def basket(service: Inside) -> dict[str, Any]:
    """What the champion says to the newcomer; repeat purchases are what its history decides."""
    reply: dict[str, Any] = service.ask({"customer": NEWCOMER, "k": 5}, path="v2/predict")
    return reply


def test_a_refresh_reaches_every_arm_and_the_journal_says_which_answered(market: Market) -> None:
    with inside(market) as service:
        service.ready()
        assert numbers(service) == everywhere(0)
        before = basket(service)
        made = refreshed(market)
        wait_for(lambda: numbers(service) == everywhere(1))
        after = basket(service)
        assert before["decision"] != after["decision"]  # the newcomer is known now
        assert (before["version"], before["revision"]) == (after["version"], after["revision"])
        training = market.plan().champion.features
        assert training is not None
        lines = {line.prediction_id: line.snapshot for line in service.answers()}
        assert lines[before["prediction_id"]] == training.content
        assert lines[after["prediction_id"]] == made.features.content
        assert trips(market) == []
        view = service.desk.view
        assert view is not None
        known = view.model.observe(view.loaded_arms["champion"].index, [_masked(service, NEWCOMER)])
        assert known["customer"].tolist() == ["known"]


def _masked(service: Inside, customer: str) -> Any:
    model = service.desk.model
    return model.mask(model.Request(customer=customer), service.service.house.vault.pseudonym)


def test_rules_look_features_up_too(market: Market) -> None:
    with inside(market) as service:
        service.ready()
        market.guard(moves.fallback)
        made = refreshed(market)
        wait_for(lambda: numbers(service).get("champion") == 1)
        reply = service.ask()
        assert reply["arm"] == "rules"
        assert service.line(reply).snapshot == made.features.content


def test_it_starts_with_fresh_features_without_ledger_and_store(market: Market) -> None:
    made = refreshed(market)
    with inside(market) as service:
        service.ready()
        wait_for(lambda: numbers(service) == everywhere(1))
        expected = basket(service)["decision"]
    (market.folder / "ledger.db").rename(market.folder / "away.db")
    (market.folder / "artifacts").rename(market.folder / "elsewhere")
    with inside(market) as service:
        wait_for(lambda: service.service.ready and service.desk.view and not service.desk.view.missing, 20)
        assert numbers(service) == everywhere(1)  # from its first answer on
        reply = basket(service)
        assert reply["decision"] == expected
        assert service.line(reply).snapshot == made.features.content


def test_a_version_that_comes_later_answers_with_fresh_features_at_once(market: Market) -> None:
    with inside(market) as service:
        service.ready()
        plan = market.begin(market.candidate(3))
        refreshed(market)
        wait_for(lambda: "canary" in numbers(service) and set(numbers(service).values()) == {1})
        service.revision(plan.revision)


def test_it_never_goes_back_also_after_a_restart(market: Market) -> None:
    refreshed(market)
    refreshed(market, "b3", 8)
    with inside(market) as service:
        service.ready()
        wait_for(lambda: numbers(service) == everywhere(2))
        by_hand(market, "DELETE FROM snapshots WHERE number = 2")
        wait_for(lambda: "one after refresh 2" in trouble(service))
        assert numbers(service) == everywhere(2)
        wait_for(lambda: any("one after refresh 2" in trip.reason for trip in trips(market)))
    with inside(market) as service:
        wait_for(lambda: "one after refresh 2" in trouble(service))
        wait_for(lambda: numbers(service) == everywhere(2))


def published(market: Market, stored: Artifact, frame: pd.DataFrame, **changes: Any) -> None:
    """A snapshot of this frame for the champion, signed as it should be."""
    arm = market.plan().champion
    assert arm.artifact is not None
    assert arm.features is not None
    features = replace(arm.features, **{"content": stored.content, "uri": stored.uri, "rows": len(frame), **changes})
    signer = market.signer("refresh")
    snapshots.publish(market.ledgers["flow"], arm.artifact.content, features, signer=signer, at=utc_now(), actor="x")


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], str]] = {
    "another column": (lambda frame: frame.rename(columns={"days": "weeks"}), {}, "rows of"),
    "another count": (lambda frame: frame, {"rows": 7}, "expected 7 rows"),
    "texts for numbers": (lambda frame: frame.assign(orders="many"), {}, "features that the model answers with"),
}


@pytest.mark.parametrize("what", BAD)
def test_features_the_model_cannot_answer_with_are_refused(market: Market, what: str) -> None:
    spoil, changes, said = BAD[what]
    with inside(market) as service:
        service.ready()
        expected = basket(service)["decision"]
        training = market.plan().champion.features
        assert training is not None
        frame = spoil(market.artifacts.frame(training))
        published(market, market.artifacts.put_frame(frame), frame, **changes)
        wait_for(lambda: said in trouble(service))
        assert numbers(service) == everywhere(0)
        assert basket(service)["decision"] == expected
        wait_for(lambda: [trip for trip in trips(market) if said in trip.reason])


def test_features_that_hang_the_model_are_told_and_the_next_ones_do_not_wait(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.fresh.LONG_SECONDS", 0.1)
    monkeypatch.setattr("serving.loader.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("serving.loader.LEAVE_SECONDS", 0.1)
    free = threading.Event()

    def hang(loaded: Any, arm: Arm, record: Refreshed, door: Any) -> Any:
        if record.number == 1:
            free.wait(60)
        return renewed(loaded, arm, record, door)

    monkeypatch.setattr("serving.fresh.renewed", hang)
    try:
        with inside(market) as service:
            service.ready()
            refreshed(market)
            wait_for(lambda: "refresh 1, have been loading for more than" in trouble(service))
            wait_for(lambda: [trip for trip in trips(market) if "refresh 1, have been" in trip.reason])
            refreshed(market, "b3", 8)
            wait_for(lambda: numbers(service) == everywhere(2))
            wait_for(lambda: not service.service.degraded)
    finally:
        free.set()


def test_a_restart_with_a_bad_newest_one_goes_on_with_the_last_good_one(market: Market) -> None:
    made = refreshed(market)
    with inside(market) as service:
        service.ready()
        wait_for(lambda: numbers(service) == everywhere(1))
        frame = market.artifacts.frame(made.features).assign(orders="many")
        published(market, market.artifacts.put_frame(frame), frame, as_of=made.features.as_of)
        wait_for(lambda: "features that the model answers with" in trouble(service))
        assert numbers(service) == everywhere(1)
    with inside(market) as service:
        wait_for(lambda: service.service.ready and service.desk.view and not service.desk.view.missing, 20)
        assert numbers(service) == everywhere(1)  # from its first answer on
        wait_for(lambda: "features that the model answers with" in trouble(service))


def test_a_spoilt_snapshot_is_told_and_the_old_one_goes_on_until_it_is_mended(market: Market) -> None:
    training = market.plan().champion.features
    assert training is not None
    frame = market.artifacts.frame(training).assign(country="Norway")
    stored = market.artifacts.put_frame(frame)
    path = market.folder / "artifacts" / stored.content[:2] / f"{stored.content}.sealed"
    right = path.read_bytes()
    path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with inside(market) as service:
        service.ready()
        published(market, stored, frame)
        wait_for(lambda: "bytes that do not open" in trouble(service))
        assert service.ask()["override"] == ""
        assert numbers(service) == everywhere(0)
        wait_for(lambda: trips(market))
        told = {(trip.arm, trip.artifact, trip.kind) for trip in trips(market)}
        assert told == {("features", "", "refused")}  # the version itself is as good as it was
        path.write_bytes(right)
        wait_for(lambda: numbers(service) == {**everywhere(0), "champion": 1})
        wait_for(lambda: not service.service.degraded)


def test_no_request_fails_and_none_sees_half_of_a_swap_under_load(market: Market) -> None:
    """Each answer is that of the snapshot its journal line names, whatever is swapped meanwhile."""
    with inside(market) as service:
        service.ready()
        stop, replies = threading.Event(), list[dict[str, Any]]()

        def go_on() -> None:
            while not stop.is_set():
                replies.append(basket(service))

        clients = [threading.Thread(target=go_on) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            for number, batch in enumerate(("b2", "b3", "b4"), start=1):
                refreshed(market, batch, 4 + 2 * number)
                wait_for(lambda number=number: numbers(service) == everywhere(number))  # type: ignore[misc]
        finally:
            stop.set()
            for client in clients:
                client.join()
        lines = {line.prediction_id: line for line in service.answers()}
        said: dict[str, set[str]] = {}
        for reply in replies:
            assert reply["override"] == ""
            said.setdefault(lines[reply["prediction_id"]].snapshot, set()).add(str(reply["decision"]))
        assert len(said) == 4
        assert {len(decisions) for decisions in said.values()} == {1}
        assert len({str(decisions) for decisions in said.values()}) > 1


def test_the_plaintext_is_on_no_disk(market: Market) -> None:
    refreshed(market)
    with inside(market) as service:
        service.ready()
        wait_for(lambda: numbers(service) == everywhere(1))
        files = [
            path for room in ("serving", "artifacts") for path in (market.folder / room).rglob("*") if path.is_file()
        ]
        assert len(files) > 5
        words = (b"PAR1", b"ARROW1", market.pseudonym(NEWCOMER).encode())
        assert [path for path in files if any(word in path.read_bytes() for word in words)] == []


def test_what_no_arm_needs_any_more_is_forgotten(market: Market) -> None:
    first = refreshed(market)
    with inside(market) as service:
        service.ready()
        wait_for(lambda: numbers(service) == everywhere(1))
        second = refreshed(market, "b3", 8)
        wait_for(lambda: numbers(service) == everywhere(2))
        folder = market.folder / "serving" / "replica-1" / NAME
        sealed = folder / "sealed"
        wait_for(lambda: not (sealed / first.features.content).exists())
        assert (sealed / second.features.content).exists()
        assert len(list((folder / "features").iterdir())) == 2


def test_what_answers_and_how_old_it_is_is_said_everywhere(market: Market) -> None:
    made = refreshed(market)
    market.limit(min_rows_share=0.5, max_age_hours=1)
    with inside(market) as service:
        wait_for(lambda: numbers(service) == everywhere(1), 30)
        reply = basket(service)
        assert "champion: features are" in trouble(service)
        shown = service.call("plan", b"", method="GET")[1]["features"]["champion"]
        assert (shown["snapshot"], shown["refresh"]) == (made.features.content, 1)
        assert shown["age_seconds"] == pytest.approx((utc_now() - made.features.as_of).total_seconds(), abs=60)
        found = {one.name: one for one in gauges.metrics(service.service, gauges.Outside(0, 0, 0))}
        ages = {one.labels["arm"]: one.value for one in found["grownet_features_age_seconds"].samples}
        assert ages.keys() == everywhere(1).keys()
        assert ages["champion"] == pytest.approx(shown["age_seconds"], abs=60)
        assert {one.value for one in found["grownet_features_refresh"].samples} == {1}
    facts = trace.trace(market.settings, market.config, reply["prediction_id"])["features"]
    assert (facts["content"], facts["refresh"], facts["as_of"]) == (made.features.content, 1, made.features.as_of)
    assert facts["data"][0]["delta_version"] == made.features.snapshots[0].delta_version
    assert "(refresh 1)" in trace.current_plan(market.settings, NAME)[1]
    (model,) = trace.overview(market.settings, market.config)
    assert [(one["version"], one["refresh"]) for one in model["features"]] == [(f"{NAME}-v2", 1), (f"{NAME}-v1", 1)]
    assert "(refresh 1)" in trace.describe([model])
    assert operate.verify_audit(market.settings)["feature_snapshots"] == 2


def test_without_a_limit_old_features_are_no_trouble(market: Market) -> None:
    with inside(market) as service:
        service.ready()
        assert trouble(service) == ""
        reply = basket(service)
    facts = trace.trace(market.settings, market.config, reply["prediction_id"])["features"]
    assert (facts["refresh"], facts["of"]) == (0, f"the training of {NAME}-v2")


# ---- what is believed --------------------------------------------------------------------------------


def forged(market: Market, record: Refreshed, holder: str) -> Refreshed:
    signer = market.signer(holder)
    plain = replace(record, key=signer.id, signature="")
    return replace(plain, signature=signer.sign(plain.unsigned()))


def other(features: FeatureSet, **changes: Any) -> FeatureSet:
    return replace(features, **changes)


def test_what_is_not_newer_of_this_version_and_signed_is_refused(market: Market) -> None:
    made, arm, ring = refreshed(market), market.plan().champion, market.signer("guard").ring
    assert arm.features is not None
    believe(made, arm, NAME, ring, None)
    back = other(made.features, as_of=arm.features.as_of.replace(year=2000))
    newer = replace(made, number=2)
    cases: dict[str, tuple[Refreshed, Arm, Refreshed | None]] = {
        "signature of the refresh flow": (replace(made, number=5), arm, None),
        "a key for snapshots": (forged(market, made, "guard"), arm, None),
        f"for artifact {arm.artifact.content[:12] if arm.artifact else ''}": (
            forged(market, replace(made, artifact="a" * 64), "refresh"), arm, None,
        ),
        "features of recommendation by": (forged(market, replace(made, model="demand"), "refresh"), arm, None),
        "by feature_v1": (
            forged(market, replace(made, features=other(made.features, version=replace(made.features.version, content="b"))), "refresh"),
            arm, None,
        ),
        "one after refresh 2": (made, arm, forged(market, newer, "refresh")),
        "one after refresh 1": (forged(market, replace(made, made_at=utc_now()), "refresh"), arm, made),
        "one after refresh 0": (forged(market, replace(made, features=back), "refresh"), arm, None),
    }  # fmt: skip
    for said, (record, wanted, seen) in cases.items():
        with pytest.raises(AdmissionRefused, match=said):
            believe(record, wanted, NAME, ring, seen)


def test_the_journal_of_before_names_no_snapshot() -> None:
    """Lines of an older release are read as they are."""
    assert Answer.__struct_defaults__[-1] == ""
