"""Keeps the features of what is loaded fresh: believes snapshots that the refresh flow signed, and swaps them in whole.

Reads the ledger (every LOOK_SECONDS) and the artifact store; writes the replica's cache. Used by the plan follower, in its
thread; a snapshot is opened and indexed beside it, in the loader's. One that is refused is reported, and the old one goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

import msgspec

from errors import AdmissionRefused, GrownetError, TamperError
from records import Arm, Artifact, Refreshed
from serving import admission
from serving.admission import Door, alone
from serving.answer import answer
from serving.cache import Cache, Room
from serving.loader import Loader
from serving.mapped import mapped
from serving.runner import Failure, attempt
from serving.view import Loaded
from stores.ledger import snapshots
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0  # snapshots come once an hour or so
AGAIN_SECONDS = 30.0  # until one that could not be loaded is tried again
LONG_SECONDS = 120.0  # after which one that still loads is told of, and a newer one is loaded beside it
Report = Callable[[str], None]  # tells the guard why a snapshot was refused


def believe(record: Refreshed, arm: Arm, model: str, ring: Ring, seen: Refreshed | None) -> None:
    """Refuses a snapshot that may not take the place of the one seen before.

    Raises:
        AdmissionRefused: for a wrong signature, another model's or version's, other feature definitions, or an older one.
    """
    thing = f"features of {arm.name}, refresh {record.number}"
    try:
        snapshots.verify(record, ring)
    except TamperError as error:
        raise AdmissionRefused(thing, expected="the signature of the refresh flow", got=str(error)) from error
    content = arm.artifact.content if arm.artifact else ""
    own = arm.features.version if arm.features else None
    if (record.model, record.artifact, record.features.version) != (model, content, own):
        raise AdmissionRefused(
            thing,
            expected=f"features of {model} by {own.name if own else 'no definitions'} for artifact {content[:12]}",
            got=f"those of {record.model} by {record.features.version.name} for {record.artifact[:12]}",
        )
    last, floor = (seen.number, seen.features) if seen is not None else (0, arm.features)
    if record.number <= last or (floor is not None and record.features.as_of < floor.as_of):
        raise AdmissionRefused(
            thing,
            expected=f"one after refresh {last}" + (f", as of {floor.as_of} or later" if floor else ""),
            got=f"another one, as of {record.features.as_of}",
            do="the ledger went back: restore it from its newest backup",
        )


def renewed(loaded: Loaded, arm: Arm, record: Refreshed, door: Door) -> Loaded:
    """The same version with the features of a snapshot, warmed with the example; it shares the old one's threads.

    Raises:
        AdmissionRefused: when it is not what was signed, or the model cannot answer with it.
        NotFound, StackError: when the store does not have it or is away: worth another try.
    """
    features, thing = record.features, f"features of {loaded.name}, refresh {record.number}"
    try:
        plaintext = door.store.plaintext(Artifact(uri=features.uri, content=features.content, size_bytes=0))
        frame = mapped(plaintext, thing)
    except TamperError as error:
        raise AdmissionRefused(thing, expected=error.expected, got=error.got, do=error.do) from error
    columns = [feature.name for feature in door.model.FEATURES]
    if (len(frame), list(frame.columns)) != (features.rows, columns):
        raise AdmissionRefused(
            thing, expected=f"{features.rows} rows of {columns}", got=f"{len(frame)} of {list(frame.columns)}"
        )

    def made() -> Loaded:
        new = msgspec.structs.replace(loaded, index=door.model.index(frame), features=features, refresh=record.number)
        answer(alone(arm, door.model, new), new, door.model.example())
        return new

    found = attempt(made, thing)
    if not isinstance(found, Loaded):
        reason = found.reason if isinstance(found, Failure) else str(found)
        raise AdmissionRefused(thing, expected="features that the model answers with", got=reason)
    return found


class Renewing(NamedTuple):
    """A snapshot on its way into what is loaded."""

    record: Refreshed
    future: Future[Loaded]
    began: float  # monotonic


class Fresh:
    """The newest believed snapshot of each version of one model, and its way into what is loaded."""

    def __init__(self, model: str, door: Door, cache: Cache, ring: Ring, report: Report) -> None:
        self._model, self._door, self._cache, self._ring, self._report = model, door, cache, ring, report
        self._known: dict[str, Refreshed] = {}  # by the artifact they are for
        self._used: dict[
            str, Refreshed
        ] = {}  # the last that each answered with: the newest may be one that cannot be used
        self._renewing: dict[str, Renewing] = {}
        self._not_before: dict[str, float] = {}
        self._looked = float("-inf")
        self._troubles: dict[tuple[str, str], str] = {}  # by step ("believe" or "load") and artifact

    @property
    def troubles(self) -> list[str]:
        return list(self._troubles.values())

    def begin(self, wanted: Mapping[str, Arm]) -> None:
        """Takes up the snapshots of the last run, each checked again."""
        for record in self._cache.snapshots("features"):
            if record.artifact in wanted:
                self._consider(record, wanted[record.artifact])
        for record in self._cache.snapshots("answered"):
            with suppress(AdmissionRefused):
                if record.artifact in wanted:
                    believe(record, wanted[record.artifact], self._model, self._ring, None)
                    self._used[record.artifact] = record

    def look(self, ledger: Ledger, wanted: Mapping[str, Arm]) -> None:
        """Asks the ledger for newer ones, now and then."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        found = snapshots.newest(ledger, wanted)
        self._looked = time.monotonic()
        for content, arm in wanted.items():
            if content in found:
                self._consider(found[content], arm)

    def names(self, wanted: Mapping[str, Arm]) -> set[str]:
        """The digests of the snapshots that these arms answer with, for the cache to keep."""
        records = (kept.get(content) for kept in (self._known, self._used) for content in wanted)
        return {record.features.content for record in records if record is not None}

    def admit(self, arm: Arm) -> Loaded:
        """Loads an arm that may serve, with its newest snapshot, else the last it answered with: a restart does not go
        back to older features.

        Its example was answered with those of training. A newer snapshot that cannot be used is tried again, and
        told of, by `renew`.
        Raises as `serving.admission.admit`.
        """
        loaded = admission.admit(arm, self._door)
        tried = dict.fromkeys(kept.get(loaded.content) for kept in (self._known, self._used))
        for record in filter(None, tried):
            try:
                new = renewed(loaded, arm, record, self._door)
            except (GrownetError, OSError) as error:
                log.error("%s does not answer with refresh %d: %s", arm.name, record.number, error)
            else:
                self._use(record)
                return new
        return loaded

    def renew(self, loader: Loader, loaded: dict[str, Loaded], wanted: Mapping[str, Arm]) -> bool:
        """Puts what was made into `loaded`, and has made what is due; True when something is other than before."""
        self._troubles = {about: reason for about, reason in self._troubles.items() if about[1] in wanted}
        changed = [self._settle(content, loaded) for content, one in list(self._renewing.items()) if one.future.done()]
        now = time.monotonic()
        for content, record in self._known.items():
            arm, one = wanted.get(content), loaded.get(content)
            due = self._not_before.get(content, 0.0) <= now and not self._under_way(content, record, now)
            if arm is not None and one is not None and one.refresh < record.number and due:
                future = loader.submit(renewed, one, arm, record, self._door)
                self._renewing[content] = Renewing(record, future, now)
        return any(changed)

    def _under_way(self, content: str, record: Refreshed, now: float) -> bool:
        """Whether a snapshot must wait for the one that is loaded now; not for one that hangs, which is told of."""
        at_work = self._renewing.get(content)
        if at_work is None or now - at_work.began <= LONG_SECONDS:
            return at_work is not None
        number = at_work.record.number
        reason = f"features, refresh {number}, have been loading for more than {LONG_SECONDS:g} s"
        self._trouble("load", content, reason, refused=True)
        return record.number <= number

    def _consider(self, record: Refreshed, arm: Arm) -> None:
        seen = self._known.get(record.artifact)
        try:
            if record != seen:
                believe(record, arm, self._model, self._ring, seen)
        except AdmissionRefused as error:
            self._trouble("believe", record.artifact, str(error), refused=True)
            return
        self._troubles.pop(("believe", record.artifact), None)
        if record == seen:
            return
        self._known[record.artifact] = record
        self._not_before.pop(record.artifact, None)
        self._keep(record, "features")

    def _use(self, record: Refreshed) -> None:
        if self._used.get(record.artifact) != record:
            self._used[record.artifact] = record
            self._keep(record, "answered")

    def _keep(self, record: Refreshed, room: Room) -> None:
        try:
            self._cache.keep_snapshot(record, room)
        except OSError as error:
            log.error("%s: refresh %d is not cached: %s", self._model, record.number, error)

    def _settle(self, content: str, loaded: dict[str, Loaded]) -> bool:
        """Takes what was made for a version that is still loaded as it was, or notes why nothing was made."""
        record, future, _ = self._renewing.pop(content)
        error, before = future.exception(), loaded.get(content)
        if error is None:
            new = future.result()
            if before is None or before.live is not new.live:  # dropped, or loaded anew meanwhile
                return False
            loaded[content] = new
            self._troubles.pop(("load", content), None)
            self._use(record)
            log.info("%s: features as of %s, refresh %d", new.name, record.features.as_of, record.number)
            return True
        self._not_before[content] = time.monotonic() + AGAIN_SECONDS
        refused = isinstance(error, AdmissionRefused)
        reason = str(error) if refused else f"features, refresh {record.number}, cannot be loaded: {error!r}"
        self._trouble("load", content, reason, refused=refused)
        return False

    def _trouble(self, step: str, content: str, reason: str, *, refused: bool) -> None:
        """Notes a trouble; log and guard get it when it is another one than before."""
        if self._troubles.get((step, content)) == reason:
            return
        log.error("%s: %s", self._model, reason)
        self._troubles[step, content] = reason
        if refused:
            self._report(reason)
