"""The replica's own copy: complete, checked, and of use when nobody else is there."""

import os
import time
from pathlib import Path

import pytest

from errors import NotFound, TamperError
from records import Artifact, SignedPlan, digest_bytes
from serving.cache import Cache
from stores.artifacts import Artifacts
from stores.vault import Vault

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
