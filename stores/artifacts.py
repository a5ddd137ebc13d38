"""Where bundles, feature snapshots and evidence documents are kept: a folder or an object store (any fsspec URI).

Writes `<2 hex>/<sha256>.sealed` (ciphertext, named after the SHA-256 of its plaintext) and `documents/<sha256>.json`
(plain records without personal data). Written by training and validation, read by serving, release and trace.
A thing is found by its digest alone, so the whole store can be moved or restored elsewhere.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import fsspec
import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from errors import NotFound, StackError, TamperError, UsageError
from records import Artifact, FeatureSet, Manifest, Record, digest_bytes

FORMAT = 1
SCHEME = "artifacts://"  # relative to the store, whatever its address is today
MAX_BUNDLE_BYTES = 1 << 30

Crypt = Callable[[bytes, bytes], bytes]  # (data, context) -> data; the two methods of the vault


class _Bundle(Record, frozen=True, kw_only=True):
    format: int
    files: dict[str, bytes]


def pack(files: Mapping[str, bytes]) -> bytes:
    """Named files as one MessagePack document; equal files give equal bytes, whatever order they came in.

    Raises:
        UsageError: for a name that is not a plain relative path.
    """
    for name in files:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
            raise UsageError(f"bundle file {name!r}", expected="a plain relative path", got=name)
    return msgspec.msgpack.encode(_Bundle(format=FORMAT, files=dict(files)), order="sorted")


def unpack(data: bytes, max_bytes: int = MAX_BUNDLE_BYTES) -> dict[str, bytes]:
    """What `pack` wrote. Nothing is executed and nothing is larger unpacked than packed.

    Raises:
        TamperError: for anything else, and for more than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise TamperError("bundle", expected=f"at most {max_bytes} bytes", got=f"{len(data)} bytes")
    try:
        bundle = msgspec.msgpack.decode(data, type=_Bundle)
    except msgspec.DecodeError as error:  # a ValidationError is one too
        raise TamperError("bundle", expected="a MessagePack document of named files", got=str(error)) from error
    if bundle.format != FORMAT:
        raise TamperError("bundle", expected=f"format {FORMAT}", got=bundle.format, do="upgrade this grownet")
    return bundle.files


def parquet(frame: pd.DataFrame) -> bytes:
    """A feature frame as it is stored; equal frames give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    return sink.getvalue()


def unparquet(data: bytes, thing: str) -> pd.DataFrame:
    """What `parquet` wrote. Raises TamperError for anything else."""
    try:
        return pq.read_table(io.BytesIO(data)).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise TamperError(thing, expected="Parquet", got=str(error)) from error


class Bundle:
    """What an artifact holds: the model's own files, its manifest, made-up requests and the answers it gave to them,
    and the training reference that monitors compare with.

    `example` and `expected` are JSON lists in the types of the model's contract (Request, Decided); `reference` are the
    files of `tasks.reference`, none in a bundle that cannot be monitored.
    """

    PREFIX, REFERENCE = "model/", "reference/"

    def __init__(
        self,
        model: Mapping[str, bytes],
        manifest: Manifest,
        example: bytes,
        expected: bytes,
        reference: Mapping[str, bytes],
    ) -> None:
        self.model, self.manifest, self.example, self.expected = dict(model), manifest, example, expected
        self.reference = dict(reference)

    def pack(self) -> bytes:
        """The bytes whose SHA-256 names the artifact."""
        own = {"manifest.json": self.manifest.to_json(), "example.json": self.example, "expected.json": self.expected}
        return pack({**own, **_below(self.PREFIX, self.model), **_below(self.REFERENCE, self.reference)})

    @classmethod
    def unpack(cls, data: bytes) -> Bundle:
        """Raises TamperError for bytes that are no bundle, or one without its parts."""
        files = unpack(data)
        model, reference = _within(cls.PREFIX, files), _within(cls.REFERENCE, files)
        try:
            manifest = Manifest.from_json(files["manifest.json"])
            return cls(model, manifest, files["example.json"], files["expected.json"], reference)
        except KeyError as error:
            raise TamperError("bundle", expected=f"a file {error}", got=sorted(files)) from error
        except msgspec.DecodeError as error:
            raise TamperError("bundle manifest", expected="the fields of Manifest", got=str(error)) from error


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}{name}": data for name, data in files.items()}


def _within(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}


class Artifacts:
    """The store at `uri`. `encrypt` and `decrypt` are the vault's: nothing leaves here in plaintext but documents."""

    def __init__(self, uri: str, encrypt: Crypt, decrypt: Crypt) -> None:
        self._uri, self._encrypt, self._decrypt = uri, encrypt, decrypt
        self._files, root = fsspec.core.url_to_fs(uri)
        self._root = str(root).rstrip("/")

    def put(self, plaintext: bytes) -> Artifact:
        """Encrypts and stores; what is there already is checked and kept, so putting twice changes nothing."""
        content = digest_bytes(plaintext)
        artifact = Artifact(uri=f"{SCHEME}{content[:2]}/{content}", content=content, size_bytes=len(plaintext))
        path = self._path(content)
        if self._call(content, lambda: self._files.exists(path)):
            self.get(artifact)
        else:
            self._write(path, self._encrypt(plaintext, content.encode()))
        return artifact

    def get(self, artifact: Artifact) -> bytes:
        """The plaintext.

        Raises:
            NotFound: when the store does not have it.
            TamperError: when it was changed, or is not what the digest says.
        """
        return self.opened(artifact, self.ciphertext(artifact))

    def bundle(self, content: str) -> Bundle:
        """The bundle of a plaintext digest. Raises NotFound, TamperError."""
        return Bundle.unpack(self.get(Artifact(uri=f"{SCHEME}{content[:2]}/{content}", content=content, size_bytes=0)))

    def opened(self, artifact: Artifact, ciphertext: bytes) -> bytes:
        """Decrypts what `ciphertext` gave earlier (a replica's cache) and checks the digest of the plaintext."""
        plaintext = self._decrypt(ciphertext, artifact.content.encode())
        content = digest_bytes(plaintext)
        if content != artifact.content:
            raise TamperError(f"artifact {artifact.uri}", expected=f"SHA-256 {artifact.content}", got=content)
        return plaintext

    def ciphertext(self, artifact: Artifact) -> bytes:
        """The stored bytes, still encrypted.

        Raises:
            NotFound: when the store does not have it.
        """
        return self._read(self._path(artifact.content), f"artifact {artifact.uri}")

    def put_frame(self, frame: pd.DataFrame) -> Artifact:
        """Stores a feature frame as Parquet; equal frames give equal bytes."""
        return self.put(parquet(frame))

    def frame(self, features: FeatureSet) -> pd.DataFrame:
        """The frame of a feature set.

        Raises:
            NotFound, TamperError
        """
        data = self.get(Artifact(uri=features.uri, content=features.content, size_bytes=0))
        frame = unparquet(data, f"features {features.uri}")
        if len(frame) != features.rows:
            raise TamperError(f"features {features.uri}", expected=f"{features.rows} rows", got=len(frame))
        return frame

    def put_document(self, data: bytes, digest: str) -> str:
        """Stores a record's bytes under their own digest and returns where.

        Raises:
            UsageError: when they do not have that digest.
        """
        if digest_bytes(data) != digest:
            raise UsageError("document", expected=f"bytes of SHA-256 {digest}", got=digest_bytes(data))
        path = self._document_path(digest)
        if not self._call(digest, lambda: self._files.exists(path)):
            self._write(path, data)
        return str(self._files.unstrip_protocol(path))

    def document(self, digest: str) -> bytes:
        """What `put_document` stored.

        Raises:
            NotFound, TamperError
        """
        data = self._read(self._document_path(digest), f"document {digest}")
        if digest_bytes(data) != digest:
            raise TamperError(f"document {digest}", expected=f"SHA-256 {digest}", got=digest_bytes(data))
        return data

    def _path(self, content: str) -> str:
        return f"{self._root}/{content[:2]}/{content}.sealed"

    def _document_path(self, digest: str) -> str:
        return f"{self._root}/documents/{digest}.json"

    def _write(self, path: str, data: bytes) -> None:
        """Under another name first: a reader sees all of it or nothing, also when the writer is killed."""
        parent, name = path.rsplit("/", 1)
        temporary = f"{parent}/.{name}.{uuid.uuid4().hex}"

        def write() -> None:
            self._files.makedirs(parent, exist_ok=True)
            self._files.pipe_file(temporary, data)
            self._files.mv(temporary, path)

        try:
            self._call(path, write)
        except StackError:
            with suppress(OSError):
                self._files.rm_file(temporary)
            raise

    def _read(self, path: str, thing: str) -> bytes:
        try:
            return bytes(self._call(thing, lambda: self._files.cat_file(path)))
        except FileNotFoundError as error:
            raise NotFound(
                thing, expected=f"it in {self._uri}", got="nothing", do="restore it from a backup"
            ) from error

    def _call(self, thing: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StackError(f"artifact store {self._uri}", expected=f"access to {thing}", got=str(error)) from error
