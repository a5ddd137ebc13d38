"""A replica's own copy of one model's plan and ciphertext, so that it starts and serves without ledger and store.

Reads and writes `home/serving/REPLICA/MODEL/`: `plan.json` (signed, and sealed by this service as one that was judged; its
file time is when the ledger last confirmed it), `features/` and `answered/` (signed snapshots, by the artifact they are for),
`sealed/` (ciphertext) and `documents/` (evidence). Everything is checked again when it is read.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal, Protocol, get_args

import msgspec

from errors import TamperError
from records import Artifact, Record, Refreshed, SignedPlan, digest_bytes
from stores.artifacts import Artifacts

log = logging.getLogger(__name__)
CONFIRM_SECONDS = 1.0  # how often the confirmation is written down
Room = Literal["features", "answered"]  # the newest snapshot that was believed; the last one that was answered with


class Seals(Protocol):
    """A key that only serving holds (`stores.vault.Vault`)."""

    def judged_mac(self, data: bytes, /) -> bytes: ...
    def judged_mac_valid(self, data: bytes, mac: bytes, /) -> bool: ...


class Judged(Record, frozen=True, kw_only=True):
    """A plan whose way from the one before was walked here, and the proof of it."""

    signed: SignedPlan
    mac: str  # hex, over replica, model and plan


class Cache:
    """The folder of one model on one replica; `artifacts` is asked for what is not in it."""

    def __init__(self, folder: Path, artifacts: Artifacts, seals: Seals) -> None:
        self._folder, self._artifacts, self._seals = folder, artifacts, seals
        self._confirmed = 0.0

    def plan(self) -> tuple[SignedPlan, float] | None:
        """The last plan that was judged here, and how many seconds ago it was confirmed; None when there is none.

        A signature says who wrote a plan, not that this key might change it so: that was judged with the ledger at hand.
        """
        path = self._folder / "plan.json"
        try:
            kept = Judged.from_json(path.read_bytes())
            age = max(0.0, time.time() - path.stat().st_mtime)
            sealed = self._seals.judged_mac_valid(self._covered(kept.signed), bytes.fromhex(kept.mac))
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError, ValueError) as error:
            log.error("%s: no plan in it, left aside: %s", path, error)
            return None
        if not sealed:
            log.error("%s: not a plan that was judged here, left aside", path)
            return None
        return kept.signed, age

    def keep_plan(self, signed: SignedPlan) -> None:
        """Keeps a plan that was judged."""
        mac = self._seals.judged_mac(self._covered(signed)).hex()
        self._write(self._folder / "plan.json", Judged(signed=signed, mac=mac).to_json())
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

    def snapshots(self, room: Room) -> list[Refreshed]:
        """The feature snapshots in a room, one a version; one that cannot be read is left out."""
        found = []
        for path in sorted(self._folder.glob(f"{room}/*.json")):
            try:
                found.append(Refreshed.from_json(path.read_bytes()))
            except (msgspec.DecodeError, UnicodeError, OSError) as error:
                log.error("%s: no snapshot in it, left aside: %s", path, error)
        return found

    def keep_snapshot(self, record: Refreshed, room: Room) -> None:
        self._write(self._folder / room / f"{record.artifact}.json", record.to_json())

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
        for path in (
            one for room in ("sealed", "documents", *get_args(Room)) for one in self._folder.glob(f"{room}/*")
        ):
            if path.stem not in keep and not path.name.startswith("."):
                path.unlink(missing_ok=True)

    def _covered(self, signed: SignedPlan) -> bytes:
        """What the proof is over: a plan that another replica judged is none of this one's."""
        return "\n".join([*self._folder.parts[-2:], signed.to_json().decode()]).encode()

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
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:  # a full disk gets back what was written
            temporary.unlink(missing_ok=True)
            raise


def _same(data: bytes, digest: str) -> bytes:
    if digest_bytes(data) != digest:
        raise TamperError(f"document {digest}", expected=f"SHA-256 {digest}", got=digest_bytes(data))
    return data
