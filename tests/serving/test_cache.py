"""The replica's own copy: complete, checked, and of use when nobody else is there."""

import errno
import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from errors import NotFound, TamperError
from records import Artifact, Refreshed, SignedPlan, digest_bytes
from serving.cache import Cache
from stores.artifacts import Artifacts
from stores.keysets import rotate
from stores.vault import Vault
from tests.stores.ledger.world import NOON, arm

SIGNED = SignedPlan(payload="{}", key="guard", signature="00")


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    vault = Vault.open(tmp_path, "train")
    return Artifacts(str(tmp_path / "artifacts"), vault.encrypt, vault.decrypt)


@pytest.fixture
def cache(tmp_path: Path, store: Artifacts) -> Cache:
    return Cache(tmp_path / "cache", store, Vault.open(tmp_path, "serving"))


def copy_of(tmp_path: Path, artifact: Artifact) -> Path:
    return tmp_path / "cache" / "sealed" / artifact.content


def test_a_plan_is_kept_with_the_time_it_was_confirmed(tmp_path: Path, cache: Cache) -> None:
    assert cache.plan() is None
    cache.keep_plan(SIGNED)
    path = tmp_path / "cache" / "plan.json"
    os.utime(path, (time.time() - 100, time.time() - 100))
    kept = cache.plan()
    assert kept is not None
    assert kept[0] == SIGNED
    assert kept[1] == pytest.approx(100, abs=5)
    cache._confirmed -= 10
    cache.confirm(SIGNED)
    kept = cache.plan()
    assert kept is not None
    assert kept[1] < 5
    path.unlink()
    cache._confirmed -= 10
    cache.confirm(SIGNED)
    assert cache.plan() is not None


@pytest.mark.parametrize("content", [b"", b"{", b'{"payload": 1}'])
def test_a_broken_plan_is_none(tmp_path: Path, cache: Cache, content: bytes) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "plan.json").write_bytes(content)
    assert cache.plan() is None


def test_a_plan_that_was_not_judged_here_is_none(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    """Its signature may be right all the same: whoever can write here cannot judge."""
    cache.keep_plan(SIGNED)
    path = tmp_path / "cache" / "plan.json"
    kept = path.read_bytes()
    for spoilt in (
        SIGNED.to_json(),  # as it lies in the ledger
        kept.replace(b'"guard"', b'"release"'),
        kept[:-10] + b'00000000"}',
        kept.replace(b'"mac":"', b'"mac":"zz'),
    ):
        assert spoilt != kept
        path.write_bytes(spoilt)
        assert cache.plan() is None
    other = tmp_path / "other"
    other.mkdir()
    (other / "plan.json").write_bytes(kept)
    assert Cache(other, store, Vault.open(tmp_path, "serving")).plan() is None  # of another model, or replica
    path.write_bytes(kept)
    rotate(tmp_path, "judged")
    again = Cache(tmp_path / "cache", store, Vault.open(tmp_path, "serving")).plan()
    assert again is not None
    assert again[0] == SIGNED


def test_snapshots_are_kept_one_a_version(tmp_path: Path, cache: Cache) -> None:
    features = arm(1).features
    assert features is not None
    one = Refreshed(model="m", artifact="a" * 64, number=1, features=features, made_at=NOON)
    two = replace(one, number=2)
    cache.keep_snapshot(one, "features")
    cache.keep_snapshot(two, "features")
    cache.keep_snapshot(one, "answered")
    assert (cache.snapshots("features"), cache.snapshots("answered")) == ([two], [one])
    (tmp_path / "cache" / "features" / f"{'b' * 64}.json").write_text("{")
    (tmp_path / "cache" / "features" / f"{'d' * 64}.json").write_bytes(b'{"model":"\xff"}')  # no UTF-8
    assert cache.snapshots("features") == [two]
    cache.prune({"c" * 64})
    assert cache.snapshots("features") == cache.snapshots("answered") == []


def test_a_full_disk_gets_back_what_could_not_be_written_whole(
    tmp_path: Path, cache: Cache, store: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refresh has a name of its own, so what is left of one is never written over."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("serving.cache.os.fsync", full)
    assert cache.plaintext(store.put(b"bundle")) == b"bundle"
    assert list((tmp_path / "cache" / "sealed").iterdir()) == []


def test_what_was_read_once_needs_no_store(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    artifact, digest = store.put(b"bundle"), digest_bytes(b"evidence")
    store.put_document(b"evidence", digest)
    assert (cache.plaintext(artifact), cache.document(digest)) == (b"bundle", b"evidence")
    (tmp_path / "artifacts").rename(tmp_path / "gone")
    assert (cache.plaintext(artifact), cache.document(digest)) == (b"bundle", b"evidence")
    assert b"bundle" not in copy_of(tmp_path, artifact).read_bytes()
    with pytest.raises(NotFound):
        cache.document("0" * 64)


def test_a_spoilt_copy_is_fetched_again(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    artifact = store.put(b"bundle")
    cache.plaintext(artifact)
    path = copy_of(tmp_path, artifact)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert cache.plaintext(artifact) == b"bundle"
    path.write_bytes(b"")
    (tmp_path / "artifacts").rename(tmp_path / "gone")
    with pytest.raises(NotFound):
        cache.plaintext(artifact)


def test_a_spoilt_store_is_refused_and_not_copied(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    artifact = store.put(b"bundle")
    path = next((tmp_path / "artifacts").rglob("*.sealed"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TamperError):
        cache.plaintext(artifact)
    assert not copy_of(tmp_path, artifact).exists()


def test_only_what_the_plan_names_is_kept(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    old, new = store.put(b"old"), store.put(b"new")
    cache.plaintext(old)
    cache.plaintext(new)
    cache.prune({new.content})
    assert [path.name for path in (tmp_path / "cache" / "sealed").iterdir()] == [new.content]


def test_a_disk_that_takes_no_copy_does_not_keep_an_arm_out(tmp_path: Path, cache: Cache, store: Artifacts) -> None:
    artifact = store.put(b"bundle")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert cache.plaintext(artifact) == b"bundle"
    with pytest.raises(OSError, match="cache"):
        cache.keep_plan(SIGNED)
