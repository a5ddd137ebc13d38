"""What `/metrics` shows besides counts: plans, what is loaded, the journal, the process, the build. Made when it is asked for."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from records import utc_now
from serving.desk import Desk
from serving.house import House
from serving.service import Service
from stores.segments import segments

_process = ProcessCollector(registry=None)  # CPU, memory, open files, start time, under their usual names


class Outside(NamedTuple):
    """What is known around the service."""

    under_way: int
    connections: int
    unlogged: int  # lines that the access log lost


def metrics(service: Service, outside: Outside) -> Iterator[Metric]:
    """Everything about a replica that is so at this moment."""
    yield from _of_desks(service.desks.values())
    yield from _of_journal(service.house)
    yield from _numbers(service, outside)
    text = "Lines of the access log that nobody took."
    yield CounterMetricFamily("grownet_access_log_dropped", text, value=outside.unlogged)
    yield from _process.collect()
    yield _build()


def _of_desks(desks: Iterable[Desk]) -> Iterator[Metric]:
    revision = GaugeMetricFamily("grownet_plan_revision", "Revision that answers.", labels=("model",))
    age = GaugeMetricFamily("grownet_plan_age_seconds", "Since the ledger confirmed the plan.", labels=("model",))
    loaded = GaugeMetricFamily("grownet_loaded", "1 per arm in memory.", labels=("model", "arm", "version", "artifact"))
    features = GaugeMetricFamily(
        "grownet_features_age_seconds", "From the newest row in the features to now.", labels=("model", "arm")
    )
    refresh = GaugeMetricFamily(
        "grownet_features_refresh", "Number of the snapshot; 0 is that of training.", labels=("model", "arm")
    )
    now = utc_now()
    for desk in desks:
        view = desk.view
        if view is None:
            continue
        revision.add_metric((desk.name,), view.plan.revision)
        age.add_metric((desk.name,), time.monotonic() - view.confirmed_at)
        for name in ("champion", "previous", "canary", "control"):
            arm = view.arm(name)
            found = view.of(arm)
            if arm is not None and found is not None and found.content not in view.tripped:
                loaded.add_metric((desk.name, name, str(arm.number), found.content), 1)
                features.add_metric((desk.name, name), found.age(now).total_seconds())
                refresh.add_metric((desk.name, name), found.refresh)
    yield from (revision, age, loaded, features, refresh)


def _of_journal(house: House) -> Iterator[Metric]:
    """What was written, what a power failure could take, and what waits here to be shipped and cleared."""
    journal = house.journal
    yield CounterMetricFamily("grownet_journal_written_bytes", "Since the start.", value=journal.bytes_written)
    yield CounterMetricFamily("grownet_journal_fsync_failures", "Since the start.", value=journal.fsync_failures)
    yield GaugeMetricFamily("grownet_journal_unsynced_bytes", "Not on the disk yet.", value=journal.unsynced_bytes)
    full = "1 while entries find no room; 0.5 while there is only what the reserve left."
    yield GaugeMetricFamily("grownet_journal_full", full, value=1.0 if journal.full else 0.5 if journal.low else 0.0)
    found = segments(journal.folder)
    size = sum(_size(one.path) for one in found)
    yield GaugeMetricFamily("grownet_journal_kept_bytes", "In this replica's segments, shipped or not.", value=size)
    oldest = max(0.0, time.time() - found[0].minute * 60) if found else 0.0
    yield GaugeMetricFamily("grownet_journal_oldest_seconds", "Age of the oldest segment here.", value=oldest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # shipped and cleared this moment
        return 0


def _numbers(service: Service, outside: Outside) -> Iterator[Metric]:
    for name, text, value in (
        ("ready", "1 when traffic may come.", service.ready),
        ("degraded", "Reasons in /readyz why not all is served as the plans say.", len(service.degraded)),
        ("break_glass", "1 while a file forces the rules.", bool(service.house.forced)),
        ("under_way", "Requests being answered.", outside.under_way),
        ("connections", "Open connections of clients.", outside.connections),
    ):
        yield GaugeMetricFamily(f"grownet_{name}", text, value=float(value))


def _build() -> Metric:
    try:
        ours = version("grownet")
    except PackageNotFoundError:  # run from a folder
        ours = "source"
    family = GaugeMetricFamily("grownet_build_info", "1; what runs here.", labels=("version", "python"))
    family.add_metric((ours, platform.python_version()), 1)
    return family
