"""Ships the journals on this machine to the lake, clears what is shipped and old, and keeps the lake's files few.

Reads `home/journal` of all replicas here; writes the lake tables of `stores.shipped`, and an alert about each damaged
segment. Run by the flow `monitor` and by `grownet ship`; killed at any point, or twice at once, it ships each line once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from checks.alerts import HOUSE, alert
from configs.schema import Config, Settings
from errors import GrownetError, StackError
from records import AlertBody, OutboxEvent, Record, utc_now
from stores import shipping
from stores.lake import Lake
from stores.ledger import counters, outbox
from stores.ledger.engine import Ledger
from stores.segments import Segment, content
from stores.shipped import SCHEMAS
from stores.shipping import Damage
from tasks.operate import opened
from tasks.profiling import TABLE as PROFILES  # grows by a file for each stretch of a segment
from tasks.profiling import watermarks
from tasks.reading import Mark
from tasks.writing import alone

ACTOR = "ship"
LEASE_SECONDS = 60.0
KEEP_HOURS = 168  # files that compaction replaced: for readers that have them open, and to look back
log = logging.getLogger("grownet.ship")


class Shipment(Record, frozen=True, kw_only=True):
    """What one pass did."""

    shipped: int  # segments
    removed: int  # segments that left this disk
    damaged: int  # lines that were set aside
    compacted: int  # partitions of the lake


def ship(settings: Settings, config: Config, keep_seconds: float | None = None) -> Shipment:
    """One pass over all replicas whose journal is here.

    Args:
        keep_seconds: how long segments stay that nobody needs here; `journal_keep_seconds` when None.

    Raises:
        LedgerUnavailable: while the ledger is away, or another shipper is at it.
        DataError: when the lake refuses. What is missing is shipped by the next pass.
        StackError, OSError: when the folder of a replica cannot be used; after all others were shipped.
    """
    lake, service, now = Lake(settings.lake_uri), config.defaults.service, utc_now()
    until = now - timedelta(seconds=service.journal_keep_seconds if keep_seconds is None else keep_seconds)
    found: list[Damage] = []
    failed: list[Exception] = []  # one replica's folder keeps no other from being shipped
    shipped = removed = 0
    with opened(settings, "flow") as ledger, alone(ledger, "lake/journal", LEASE_SECONDS):

        def tell(damage: Damage) -> None:
            found.append(damage)
            log.error("%s of %s: %s", damage.segment, damage.replica, damage.reasons)
            outbox.add(ledger, [_alert(damage, config)], ACTOR)

        for folder in replicas(settings.home / "journal"):
            try:
                shipped += shipping.ship(lake, folder, now, tell)
            except (StackError, OSError) as error:
                log.error("%s is not shipped: %s", folder.name, error)
                failed.append(error)
        marks = watermarks(lake)
        for folder in replicas(settings.home / "journal"):
            try:
                gone, others = shipping.clear(lake, folder, until, _used(ledger, marks, folder))
            except (StackError, OSError) as error:
                failed.append(error)
                continue
            removed += gone
            for one in others:
                tell(one)
        compacted = shipping.compact(lake, (*SCHEMAS, PROFILES), service.compact_files, KEEP_HOURS)
    if failed:
        raise failed[0]
    damaged = sum(count for one in found for count in one.reasons.values())
    return Shipment(shipped=shipped, removed=removed, damaged=damaged, compacted=compacted)


def follow(settings: Settings, config: Config, wait: Callable[[float], object] = time.sleep) -> None:
    """Ships for ever, a pass each `ship_seconds`; a ledger or lake that is away is waited for."""
    while True:
        try:
            done = ship(settings, config)
        except (GrownetError, OSError) as error:
            log.warning("not shipped yet: %s", error)
        else:
            log.info("%s", done.to_json().decode())
        wait(config.defaults.service.ship_seconds)


def replicas(root: Path) -> list[Path]:
    """The folders of the replicas that write below `home/journal`."""
    return sorted(path for path in root.glob("*") if path.is_dir())


def _used(ledger: Ledger, marks: Mapping[tuple[str, str], Mark], folder: Path) -> Callable[[Segment, int], bool]:
    """Whether the counters and the monitor have read a segment to its end: they read this disk."""
    counted = int(counters.watermark(ledger, folder.name).partition(":")[0] or 0)

    def used(segment: Segment, _: int) -> bool:
        read = marks.get((folder.name, segment.path.stem), Mark(0)).end
        return segment.number < counted and read >= content(segment.path).rfind(b"\n") + 1

    return used


def _alert(damage: Damage, config: Config) -> OutboxEvent:
    """Once for each segment and what is wrong with it."""
    return alert(
        key=[damage.replica, damage.segment, sorted(damage.reasons.items()), "journal_damage"],
        level="warning",
        model=HOUSE,
        title=f"journal of {damage.replica}: damage in segment {damage.segment}",
        body=AlertBody(
            what="Lines of the journal were torn, changed or not understood when they were shipped to the lake.",
            evidence={**damage.reasons, "lines that were good": damage.lines},
            done="they stand in the lake table journal_quarantine; a segment that is not what was shipped stays on its disk",
            owner=config.defaults.owners.monitor,
            next="torn: a process or machine died in the middle of a write, its answer never left. changed: find out who "
            "wrote there. unknown: a newer release wrote them; ship with that release.",
            link="grownet ship",
        ),
        at=utc_now(),
    )
