"""Keys are issued, rotated and revoked with a word to the audit log, and shown once."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from configs import load as loading
from configs.schema import Settings
from errors import LedgerError, NotFound, UsageError
from serving.issuing import describe, issue, listed, note_use, revoke, rotate, span
from serving.keys import Ring, add_key, path_of, read
from stores.ledger import audit
from stores.ledger.engine import Ledger

DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loading.settings({"GROWNET_HOME": str(tmp_path)})


def actions(settings: Settings) -> list[tuple[str, str]]:
    ledger = Ledger.open(settings.ledger_url, "reader")
    try:
        assert audit.verify(ledger) > 0
        return [(entry.action, entry.subject) for entry in audit.entries(ledger)]
    finally:
        ledger.close()


def good(settings: Settings, *secrets: str) -> list[bool]:
    ring = Ring(path_of(settings))
    return [ring.find(f"Bearer {secret}") is not None for secret in secrets]


def test_rotation_overlaps_and_every_change_is_audited(settings: Settings) -> None:
    first = issue(settings, "shop", {"predict"}, {"recommendation"})
    second = rotate(settings, "shop", 7 * DAY)
    assert second["replaces"] == first["id"]
    assert good(settings, first["key"], second["key"]) == [True, True]
    old, new = read(path_of(settings))
    assert old.expires_at is not None
    assert timedelta(days=6) < old.expires_at - new.created_at <= 7 * DAY
    assert (new.scopes, new.models, new.name) == (("predict",), ("recommendation",), "shop")

    third = rotate(settings, "shop", timedelta(0))  # its name alone is enough: the first was rotated before
    assert third["replaces"] == second["id"]
    assert good(settings, first["key"], second["key"], third["key"]) == [True, False, True]
    assert revoke(settings, first["id"])["state"] == "revoked"
    assert good(settings, first["key"], third["key"]) == [False, True]
    assert actions(settings) == [
        ("key.issued", first["id"]), ("key.rotated", first["id"]), ("key.rotated", second["id"]), ("key.revoked", first["id"]),
    ]  # fmt: skip
    text = path_of(settings).read_text() + (settings.home / "ledger.db").read_bytes().decode("latin-1")
    assert not any(one["key"].split("_", 2)[2] in text for one in (first, second, third))


def test_a_key_ends_by_itself_and_its_successor_lasts_as_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = issue(settings, "shop", {"predict"}, {"*"}, 30 * DAY)
    ring, header = Ring(path_of(settings)), f"Bearer {first['key']}"
    assert ring.find(header) is not None
    later = time.time() + 31 * 86400
    monkeypatch.setattr("serving.keys.time.time", lambda: later)
    assert ring.find(header) is None
    monkeypatch.undo()
    second = rotate(settings, first["id"], 60 * DAY)
    assert second["old_ends_at"] == first["expires_at"]  # an overlap makes no key longer
    assert second["expires_at"] - second["created_at"] == pytest.approx(30 * DAY, abs=timedelta(seconds=5))


def test_a_key_for_no_time_at_all_is_not_one_for_ever(settings: Settings) -> None:
    with pytest.raises(UsageError, match="--expires"):
        issue(settings, "shop", {"predict"}, {"*"}, timedelta(0))
    add_key(settings, "shop", {"predict"}, {"*"})
    with pytest.raises(UsageError, match="--expires"):
        rotate(settings, "shop", DAY, timedelta(0))
    assert [key.replaced_by for key in read(path_of(settings))] == [""]


def test_a_name_that_is_nobodys_or_of_several_is_refused(settings: Settings) -> None:
    with pytest.raises(NotFound, match="keys list"):
        rotate(settings, "shop", DAY)
    ids = [issue(settings, "shop", {"predict"}, {"*"})["id"] for _ in range(2)]
    with pytest.raises(UsageError, match=ids[0]):
        rotate(settings, "shop", DAY)
    assert rotate(settings, ids[1], DAY)["replaces"] == ids[1]
    with pytest.raises(NotFound):
        revoke(settings, "ffffffff")


def test_the_list_shows_state_use_and_keys_that_nobody_told_of(settings: Settings) -> None:
    one = issue(settings, "shop", {"predict"}, {"*"})
    add_key(settings, "smuggled", {"read"}, {"*"})
    note_use(settings.home / "serving" / "replica-1" / "key_use.json", {one["id"]: 1_700_000_123.0})
    note_use(settings.home / "serving" / "replica-2" / "key_use.json", {one["id"]: 1_700_007_323.0})
    note_use(settings.home / "serving" / "replica-2" / "key_use.json", {})  # started again: what it knew stays
    rotate(settings, "shop", timedelta(0))
    first, smuggled, second = listed(settings)
    assert (first["state"], smuggled["state"], second["state"]) == ("expired", "good", "good")
    assert (first["audited"], smuggled["audited"], second["audited"]) == (True, False, True)
    assert f"{first['last_used']:%Y-%m-%d %H:%M}" == "2023-11-15 00:00"
    assert all("hash" not in found for found in (first, smuggled, second))
    assert describe([smuggled]).endswith("smuggled: read for *, NOT IN THE AUDIT LOG")


def test_without_the_audit_log_there_is_no_new_key_but_a_revocation(settings: Settings) -> None:
    secret = add_key(settings, "shop", {"predict"}, {"*"})
    (settings.home / "ledger.db").mkdir()  # no ledger can be opened, or made
    with pytest.raises(LedgerError):
        issue(settings, "new", {"predict"}, {"*"})
    assert [key.name for key in read(path_of(settings))] == ["shop"]
    assert listed(settings)[0]["audited"] is None
    with pytest.raises(LedgerError, match="revoked, but not in the audit log"):
        revoke(settings, read(path_of(settings))[0].id)
    assert good(settings, secret) == [False]


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("0s", 0)])
def test_spans(text: str, seconds: int) -> None:
    assert span(text, "--overlap").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7w", "1.5h", "99999999d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(UsageError, match="--overlap"):
        span(text, "--overlap")
