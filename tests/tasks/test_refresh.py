"""Features of what serves, built anew from a real lake: published once, signed, and not at all when they should not be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.profiles import References
from errors import LedgerUnavailable, NotFound
from models import contract
from records import Answer, OutboxEvent
from stores.artifacts import Artifacts
from stores.ledger import audit, outbox, snapshots
from stores.vault import Vault
from tasks.eyes import Eye, Indexes, observed
from tasks.refresh import describe, refresh
from tasks.snapshot_facts import in_use
from tasks.trial import Trial
from tests.serving.market import NEWCOMER, Market, later
from tests.serving.town import NAME, orders
from tests.stores.ledger.world import NOON


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("market")
    market = Market(home)
    market.released()
    market.close()
    return home


@pytest.fixture
def market(opened: Path, tmp_path: Path) -> Iterator[Market]:
    shutil.copytree(opened, tmp_path / "home")
    made = Market(tmp_path / "home")
    yield made
    made.close()


def alerts(market: Market) -> list[OutboxEvent]:
    return [event for event in outbox.pending(market.ledgers["reader"], 50) if event.kind == "alert"]


def frame(market: Market) -> pd.DataFrame:
    features = market.newest(market.plan().champion).features
    return market.artifacts.frame(features)


def test_new_rows_are_published_signed_and_hold_who_came_since(market: Market) -> None:
    (same,) = market.refresh()
    assert (same.result, same.refresh, same.arms) == ("unchanged", 0, ("champion",))
    market.take_in(later(5), "b2")
    (one,) = market.refresh()
    assert (one.result, one.refresh, one.name) == ("published", 1, f"{NAME}-v1")
    arm = market.plan().champion
    assert arm.features is not None
    made = market.newest(arm)
    snapshots.verify(made, market.signer("guard").ring)
    assert (made.key, made.features.version) == ("refresh", arm.features.version)
    assert made.features.as_of > arm.features.as_of
    assert made.features.snapshots[0].delta_version > arm.features.snapshots[0].delta_version
    newcomer = market.pseudonym(NEWCOMER)
    assert newcomer in set(frame(market)["subject"])
    assert newcomer not in set(market.artifacts.frame(arm.features)["subject"])
    assert [entry.actor for entry in audit.entries(market.ledgers["reader"], NAME)][-1] == "refresh"
    assert audit.verify(market.ledgers["reader"])


def test_the_same_rows_again_write_nothing(market: Market) -> None:
    market.take_in(later(5), "b2")
    market.refresh()
    files, entries = sorted(Path(market.settings.artifacts_uri).rglob("*")), audit.verify(market.ledgers["reader"])
    (again,) = market.refresh()
    assert (again.result, again.refresh) == ("unchanged", 1)
    assert sorted(Path(market.settings.artifacts_uri).rglob("*")) == files
    assert audit.verify(market.ledgers["reader"]) == entries
    assert "refresh 1" in describe([again])


def test_it_is_what_build_makes_of_the_same_rows(market: Market) -> None:
    """From the lake or from memory: what serves is what training would have made at that moment."""
    market.take_in(later(5), "b2")
    market.refresh()
    made = market.newest(market.plan().champion)
    ours = pd.concat([orders(), later(5)], ignore_index=True)
    ours["customer_id"] = Vault.open(market.folder, "ingest").pseudonyms(ours["customer_id"])
    params, _ = contract.configure(market.model, market.config.models[NAME])
    built = market.model.build({"orders": ours}, made.features.as_of, params)
    pd.testing.assert_frame_equal(frame(market), built)


def test_every_version_that_may_answer_is_refreshed_by_its_own_parameters(market: Market) -> None:
    own = {**_params(market), "trend_half_life_days": 20.0}
    market.begin(market.candidate(2, params=own))
    market.take_in(later(5), "b2")
    found = {one.name: one for one in market.refresh()}
    assert {name: one.arms for name, one in found.items()} == {f"{NAME}-v1": ("champion",), f"{NAME}-v2": ("canary",)}
    assert {one.result for one in found.values()} == {"published"}
    plan = market.plan()
    assert plan.canary is not None
    assert market.newest(plan.champion).features.content != market.newest(plan.canary).features.content
    plan = market.guard(moves.advance)
    while plan.canary is not None:
        plan = market.guard(moves.advance)
    assert {names for _, names in in_use(plan).values()} == {("champion",), ("previous", "control")}
    market.guard(moves.fallback)
    assert {one.result for one in market.refresh()} == {"unchanged"}  # rules answer by features too


def test_a_rejected_artifact_is_not_refreshed(market: Market) -> None:
    market.begin(market.candidate(2, params={**_params(market), "trend_half_life_days": 20.0}))
    assert len(in_use(market.plan())) == 2
    assert len(in_use(market.guard(moves.take_back))) == 1


def _params(market: Market) -> dict[str, Any]:
    arm = market.plan().champion
    assert arm.artifact is not None
    return dict(market.artifacts.bundle(arm.artifact.content).manifest.params)


def test_a_version_of_other_definitions_is_left_and_said_once(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    market.take_in(later(5), "b2")
    monkeypatch.setattr("tasks.refresh.feature_digest", lambda model: "e" * 64)
    for _ in range(2):
        (one,) = market.refresh()
        assert (one.result, one.refresh) == ("refused", 0)
        assert "other code" in one.reason
    (event,) = alerts(market)
    assert (event.level, event.model) == ("warning", NAME)
    assert event.body["owner"] == market.config.defaults.owners.feature
    assert "feature_v1" in event.body["what"]


def test_collapsed_features_are_refused(market: Market) -> None:
    market.take_in(later(5), "b2")
    market.limit(min_rows_share=1.0, max_age_hours=0)
    rows = len(market.artifacts.frame(market.plan().champion.features))  # type: ignore[arg-type]  # it has them
    (one,) = market.refresh()
    assert one.result == "published"
    assert one.rows > rows
    arm = market.plan().champion
    newest = market.newest(arm)
    assert arm.artifact is not None
    more = replace(newest.features, rows=10 * rows)
    snapshots.publish(
        market.ledgers["flow"],
        arm.artifact.content,
        more,
        signer=market.signer("refresh"),
        at=newest.made_at,
        actor="x",
    )
    market.take_in(later(8), "b3")
    (one,) = market.refresh()
    assert (one.result, one.refresh) == ("refused", 2)
    assert "at least 100%" in one.reason
    assert len(alerts(market)) == 1


def test_features_out_of_range_are_refused(market: Market) -> None:
    market.take_in(later(5).assign(unit_price=2e7), "b2")
    (one,) = market.refresh()
    assert one.result == "refused"
    assert "feature spend" in one.reason


def test_the_same_trouble_with_other_figures_is_said_once(market: Market) -> None:
    """A bad source brings another figure with each batch; the owner knows already."""
    for days, batch in ((5, "b2"), (8, "b3")):
        market.take_in(later(days).assign(unit_price=1e7 + days * 1e6), batch)
        (one,) = market.refresh()
        assert "feature spend" in one.reason
    assert len(alerts(market)) == 1
    market.take_in(later(12).assign(invoice_date=later(12)["invoice_date"] + timedelta(days=36_500)), "b4")
    assert "rows up to now" in market.refresh()[0].reason
    assert len(alerts(market)) == 2  # that is another matter


@pytest.mark.parametrize("error", [IndexError("odd row"), ZeroDivisionError("odd row")])
def test_a_build_that_fails_on_odd_rows_is_told_and_keeps_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    market.begin(market.candidate(2, params={**_params(market), "trend_half_life_days": 20.0}))
    market.take_in(later(5), "b2")
    features = Trial.features

    def build(self: Trial, moment: Any) -> pd.DataFrame:
        if self.params.trend_half_life_days == 20.0:
            raise error
        return features(self, moment)

    monkeypatch.setattr(Trial, "features", build)
    assert {one.name: one.result for one in market.refresh()} == {f"{NAME}-v1": "published", f"{NAME}-v2": "refused"}
    assert "odd row" in alerts(market)[-1].body["what"]


def test_rows_from_the_future_are_not_published(market: Market) -> None:
    """Once published no replica would ever go back to features of today."""
    ahead = later(5)
    market.take_in(ahead.assign(invoice_date=ahead["invoice_date"] + timedelta(days=36_500)), "b2")
    (one,) = market.refresh()
    assert one.result == "refused"
    assert "rows up to now" in one.reason


def test_a_bundle_that_is_spoilt_is_refused_and_the_other_is_not(market: Market) -> None:
    market.begin(market.candidate(2, params={**_params(market), "trend_half_life_days": 20.0}))
    market.take_in(later(5), "b2")
    canary = market.plan().canary
    assert canary is not None
    assert canary.artifact is not None
    path = Path(market.settings.artifacts_uri) / canary.artifact.content[:2] / f"{canary.artifact.content}.sealed"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [one.result for one in market.refresh()] == ["published", "refused"]


def test_the_monitor_sees_requests_with_the_features_that_answered_them(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    market.take_in(later(5), "b2")
    market.refresh()
    arm, request = market.plan().champion, market.model.Request(customer=market.pseudonym(NEWCOMER))
    assert arm.features is not None
    made = market.newest(arm).features
    indexes = Indexes(market.artifacts, market.model, arm.features)
    eye = Eye(market.model, References(columns=(), rows=0, anomalies=0), pd.DataFrame(), indexes, arm.features.as_of)
    names = ("", made.content, arm.features.content, made.content, "f" * 64)
    seen = observed(eye, [_line(one, msgspec.to_builtins(request)) for one in names])
    assert seen.frame["customer"].tolist() == ["unknown", "known", "unknown", "known", "unknown"]
    assert list(seen.frame.index) == seen.at == list(range(5))
    assert "not with those they name" in caplog.text  # the last one is lost
    assert observed(eye, []).frame.empty


def _line(snapshot: str, request: Any) -> Answer:
    return Answer(
        prediction_id="", model=NAME, arm="champion", version=1, artifact="", revision=1, event_time=NOON,
        received_at=NOON, subject="", bucket=0, decision=None, features=request, snapshot=snapshot,
    )  # fmt: skip


def test_what_serves_nothing_needs_nothing(tmp_path: Path) -> None:
    market = Market(tmp_path)
    assert market.refresh() == []
    assert describe([]) == "nothing serves that needs features"
    market.close()


def test_a_store_that_is_away_is_no_refusal(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Artifacts, artifact: Any) -> bytes:
        raise LedgerUnavailable("store", got="away")

    market.take_in(later(5), "b2")
    monkeypatch.setattr(Artifacts, "get", away)
    with pytest.raises(LedgerUnavailable):
        market.refresh()
    assert alerts(market) == []


def test_an_unknown_model_is_refused(market: Market) -> None:
    with pytest.raises(NotFound):
        refresh(market.settings, market.config, "nothing")
