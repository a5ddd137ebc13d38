"""A replica's own copy of one model's plan and ciphertext, so that it starts and serves without ledger and store.

Reads and writes `home/serving/REPLICA/MODEL/`: `plan.json` (signed; its file time is when the ledger last confirmed
it), `sealed/` (ciphertext) and `documents/` (evidence). Everything is checked again when it is read.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from errors import TamperError
from records import Artifact, SignedPlan, digest_bytes
from stores.artifacts import Artifacts

log = logging.getLogger(__name__)
CONFIRM_SECONDS = 1.0  # how often the confirmation is written down


class Cache:
    """The folder of one model on one replica; `artifacts` is asked for what is not in it."""

    def __init__(self, folder: Path, artifacts: Artifacts) -> None:
        self._folder, self._artifacts = folder, artifacts
        self._confirmed = 0.0

    def plan(self) -> tuple[SignedPlan, float] | None:
        """The last plan and how many seconds ago it was confirmed; None when there is none that can be read."""
        path = self._folder / "plan.json"
        try:
            return SignedPlan.from_json(path.read_bytes()), max(0.0, time.time() - path.stat().st_mtime)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            log.error("%s: no plan in it, left aside: %s", path, error)
            return None

    def keep_plan(self, signed: SignedPlan) -> None:
        self._write(self._folder / "plan.json", signed.to_json())
        self._confirmed = time.monotonic()

    def confirm(self, signed: SignedPlan) -> None:
        """Notes that the ledger still has this plan; raises OSError when it cannot."""
        if time.monotonic() - self._confirmed <= CONFIRM_SECONDS:
            return
        try:
            os.utime(self._folder / "plan.json")
            self._confirmed = time.monotonic()
        except FileNotFoundError:
            self.keep_plan(signed)

    def plaintext(self, artifact: Artifact) -> bytes:
        """The artifact's bytes, decrypted and checked; from the store when the copy is missing or spoilt.

        Raises:
            NotFound, StackError: when the store does not have it or is away.
            TamperError: when what the store has was changed.
        """
        path = self._folder / "sealed" / artifact.content
        kept = self._kept(path, lambda data: self._artifacts.opened(artifact, data))
        if kept is not None:
            return kept
        ciphertext = self._artifacts.ciphertext(artifact)
        plaintext = self._artifacts.opened(artifact, ciphertext)
        self._copy(path, ciphertext)
        return plaintext

    def document(self, digest: str) -> bytes:
        """The bytes of an evidence document; raises as `plaintext` does."""
        path = self._folder / "documents" / digest
        kept = self._kept(path, lambda data: _same(data, digest))
        if kept is not None:
            return kept
        data = self._artifacts.document(digest)
        self._copy(path, data)
        return data

    def prune(self, keep: Collection[str]) -> None:
        """Forgets what the plan does not name any more."""
        for path in [*self._folder.glob("sealed/*"), *self._folder.glob("documents/*")]:
            if path.name not in keep and not path.name.startswith("."):
                path.unlink(missing_ok=True)

    def _kept(self, path: Path, check: Callable[[bytes], bytes]) -> bytes | None:
        try:
            return check(path.read_bytes())
        except FileNotFoundError:
            return None
        except (TamperError, OSError) as error:
            log.error("%s: spoilt copy, asking the store: %s", path, error)
            return None

    def _copy(self, path: Path, data: bytes) -> None:
        """A full disk costs the next start its copy, not this one its arm."""
        try:
            self._write(path, data)
        except OSError as error:
            log.error("%s: not copied: %s", path, error)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _same(data: bytes, digest: str) -> bytes:
    if digest_bytes(data) != digest:
        raise TamperError(f"document {digest}", expected=f"SHA-256 {digest}", got=digest_bytes(data))
    return data
