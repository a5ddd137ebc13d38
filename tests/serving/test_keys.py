"""API keys: shown once, kept as hashes, scoped by verb and model."""

import hmac
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from configs import load as loading
from configs.schema import Settings
from errors import ConfigError, UsageError
from serving.keys import Ring, add_key, path_of, read


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loading.settings({"GROWNET_HOME": str(tmp_path)})


def test_a_key_is_found_by_its_header_and_kept_as_a_hash(settings: Settings) -> None:
    secret = add_key(settings, "shop", {"predict", "feedback"}, {"recommendation"})
    ring = Ring(path_of(settings))
    key = ring.find(f"Bearer {secret}")
    assert key is not None
    assert (key.name, key.scopes, key.models) == ("shop", ("feedback", "predict"), ("recommendation",))
    assert key.may("predict", "recommendation")
    assert not key.may("predict", "demand")
    assert not key.may("replay", "recommendation")
    assert ring.find(f"bearer  {secret} ") == key
    assert secret not in path_of(settings).read_text()
    assert secret.split("_", 2)[2] not in path_of(settings).read_text()
    assert stat.S_IMODE(path_of(settings).stat().st_mode) == 0o600


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic {secret}", "{secret}", "Bearer {secret}x"])
def test_anything_else_is_no_key(settings: Settings, header: str) -> None:
    secret = add_key(settings, "shop", {"predict"}, {"*"})
    assert Ring(path_of(settings)).find(header.format(secret=secret)) is None


def test_a_ring_sees_a_new_key_and_keeps_the_old_ones_when_the_file_breaks(settings: Settings) -> None:
    ring = Ring(path_of(settings))
    first = add_key(settings, "first", {"predict"}, {"*"})
    ring.reload()
    assert ring.find(f"Bearer {first}")
    for broken in (b"[broken", b'[{"id":"\xff"}]'):
        path_of(settings).write_bytes(broken)
        with pytest.raises(ConfigError, match="expected a list of API keys"):
            ring.reload()
        assert ring.find(f"Bearer {first}")
    path_of(settings).unlink()
    ring.reload()
    assert ring.find(f"Bearer {first}") is None


def test_keys_added_at_once_are_all_kept(settings: Settings) -> None:
    threads = [threading.Thread(target=add_key, args=(settings, f"k{n}", {"predict"}, {"*"})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read(path_of(settings))) == [f"k{n}" for n in range(8)]


@pytest.mark.parametrize(("scopes", "models"), [(set(), {"*"}), ({"write"}, {"*"}), ({"predict"}, set())])
def test_a_key_for_nothing_is_refused(settings: Settings, scopes: set[str], models: set[str]) -> None:
    with pytest.raises(UsageError, match="at least one model"):
        add_key(settings, "k", scopes, models)
    assert read(path_of(settings)) == []


def test_an_unknown_id_is_compared_as_long_as_a_known_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done does not depend on whether the id exists: one hash, one comparison of as many characters."""
    secret, compared = add_key(settings, "shop", {"predict"}, {"*"}), []
    ring = Ring(path_of(settings))

    def noted(left: str, right: str) -> bool:
        compared.append((len(left), len(right)))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr("serving.keys.hmac", SimpleNamespace(compare_digest=noted))
    wrong = [secret[:-1] + ("x" if secret[-1] != "x" else "y"), "gk_00000000_" + secret[12:], "", "x"]
    assert [ring.find(f"Bearer {one}") for one in wrong] == [None] * 4
    assert compared == [(64, 64)] * 4
    assert ring.used == {}
    key = ring.find(f"Bearer {secret}")
    assert key is not None
    assert abs(ring.used[key.id] - time.time()) < 5
