from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import NotFound, StackError, TamperError, UsageError
from records import Artifact, FeatureSet, Manifest, Version, Versions, digest_bytes
from stores.artifacts import SCHEME, Artifacts, Bundle, pack, unpack

NAMES = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.json", fullmatch=True)


def flip(data: bytes, context: bytes) -> bytes:
    """Its own inverse; the vault's real cipher has tests of its own, here the bytes only have to differ."""
    return bytes(byte ^ context[0] for byte in data)


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"), flip, flip)


@given(st.dictionaries(NAMES, st.binary(max_size=64)))
def test_pack_is_deterministic_and_unpack_is_its_inverse(files: dict[str, bytes]) -> None:
    packed = pack(files)
    assert unpack(packed) == files
    assert pack(dict(reversed(files.items()))) == packed


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "./a"])
def test_pack_refuses_a_name_that_is_no_plain_path(name: str) -> None:
    with pytest.raises(UsageError, match="plain relative path"):
        pack({name: b""})


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"cos\nsystem\n(S'true'\ntR.", msgspec.msgpack.encode({"format": 1, "files": {"a": 3}})]
)
def test_unpack_refuses_anything_else(data: bytes) -> None:
    with pytest.raises(TamperError, match="named files"):
        unpack(data)


def test_unpack_refuses_another_format_and_too_much() -> None:
    with pytest.raises(TamperError, match="format 1, got 2"):
        unpack(msgspec.msgpack.encode({"format": 2, "files": {}}))
    with pytest.raises(TamperError, match="at most 10 bytes"):
        unpack(pack({"a": b"x" * 100}), max_bytes=10)


def test_what_was_put_comes_back_and_is_stored_encrypted(store: Artifacts, tmp_path: Path) -> None:
    artifact = store.put(b"plain text")
    assert artifact == Artifact(
        uri=f"{SCHEME}{artifact.content[:2]}/{artifact.content}", content=digest_bytes(b"plain text"), size_bytes=10
    )
    assert store.get(artifact) == b"plain text"
    assert store.opened(artifact, store.ciphertext(artifact)) == b"plain text"
    stored = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert len(stored) == 1
    assert b"plain" not in stored[0].read_bytes()


def test_putting_twice_writes_once(store: Artifacts, tmp_path: Path) -> None:
    first = store.put(b"same")
    stamp = next((tmp_path / "artifacts").rglob("*.sealed")).stat().st_mtime_ns
    assert store.put(b"same") == first
    assert next((tmp_path / "artifacts").rglob("*.sealed")).stat().st_mtime_ns == stamp


def test_one_byte_changed_is_refused_by_get_and_by_put(store: Artifacts, tmp_path: Path) -> None:
    artifact = store.put(b"plain text")
    path = next((tmp_path / "artifacts").rglob("*.sealed"))
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TamperError, match=artifact.content):
        store.get(artifact)
    with pytest.raises(TamperError, match=artifact.content):
        store.put(b"plain text")


def test_a_moved_store_still_finds_everything(store: Artifacts, tmp_path: Path) -> None:
    artifact = store.put(b"plain text")
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    assert Artifacts(str(tmp_path / "elsewhere"), flip, flip).get(artifact) == b"plain text"
    with pytest.raises(NotFound, match="restore it"):
        store.get(artifact)


def test_an_object_store_address_works_too() -> None:
    store = Artifacts("memory://bucket/artifacts", flip, flip)
    assert store.get(store.put(b"plain text")) == b"plain text"


def test_documents_are_kept_under_their_digest(store: Artifacts, tmp_path: Path) -> None:
    digest = digest_bytes(b"{}")
    assert store.put_document(b"{}", digest) == store.put_document(b"{}", digest)
    assert store.document(digest) == b"{}"
    with pytest.raises(UsageError, match="bytes of SHA-256"):
        store.put_document(b"{ }", digest)
    (tmp_path / "artifacts" / "documents" / f"{digest}.json").write_bytes(b"{ }")
    with pytest.raises(TamperError, match=digest):
        store.document(digest)


def test_a_store_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StackError, match="artifact store"):
        Artifacts(str(tmp_path / "file"), flip, flip).put(b"x")


def _put(uri: str) -> str:
    return Artifacts(uri, flip, flip).put(b"y" * 1_000_000).content


def test_two_writers_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    uri = str(tmp_path / "artifacts")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        contents = pool.map(_put, [uri] * 4)
    assert len(set(contents)) == 1
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert [path.suffix for path in files] == [".sealed"]


def manifest() -> Manifest:
    version = Version(name="x_v1", number=1, content="c" * 64)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return Manifest(
        model="shop",
        number=1,
        name="shop-v1",
        versions=Versions(data=version, feature=version, model=version, pipeline=version),
        config_digest="d" * 64,
        params={"ridge": 500.0},
        policy={},
        serving={"deadline_seconds": 0.25},
        features=FeatureSet(
            model="shop", version=version, as_of=now, uri="artifacts://x", content="e" * 64, rows=1, snapshots=()
        ),
        trained_until=now,
        kpi="hit",
        judge="paired",
    )


def test_a_bundle_comes_back_with_all_its_parts() -> None:
    packed = Bundle({"weights.npy": b"123"}, manifest(), b"[]", b"[1]", {"references.json": b"{}"}).pack()
    bundle = Bundle.unpack(packed)
    assert (bundle.model, bundle.example, bundle.expected) == ({"weights.npy": b"123"}, b"[]", b"[1]")
    assert bundle.manifest == manifest()
    assert bundle.pack() == packed


def test_a_bundle_without_a_part_or_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(TamperError, match=r"expected\.json"):
        Bundle.unpack(pack({"manifest.json": manifest().to_json(), "example.json": b"[]"}))
    strange = manifest().to_json().replace(b'"kpi"', b'"kpy"')
    with pytest.raises(TamperError, match="fields of Manifest"):
        Bundle.unpack(pack({"manifest.json": strange, "example.json": b"[]", "expected.json": b"[]"}))


def test_a_feature_frame_comes_back_as_it_was(store: Artifacts) -> None:
    frame = pd.DataFrame(
        {"subject": pd.Series(["p1_a", ""], dtype="str"), "orders": [3, 1], "days": [0.5, float("nan")]}
    )
    stored = store.put_frame(frame)
    assert store.put_frame(frame.copy()) == stored
    known = msgspec.structs.replace(manifest().features, uri=stored.uri, content=stored.content, rows=2)
    pd.testing.assert_frame_equal(store.frame(known), frame)
    with pytest.raises(TamperError, match="3 rows"):
        store.frame(msgspec.structs.replace(known, rows=3))
    other = store.put(b"no parquet")
    with pytest.raises(TamperError, match="Parquet"):
        store.frame(msgspec.structs.replace(known, uri=other.uri, content=other.content))
