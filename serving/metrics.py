"""Counts and times of one replica for Prometheus, in its text format. Read by `/metrics`; no personal data in it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.desk import Desk

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
PER_MODEL = ["model"]


class Metrics:
    """The registry of a replica; `page` also reads the desks."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.replies = Counter("grownet_replies", "HTTP replies.", ["route", "status"], registry=registry)
        self.answers = Counter(
            "grownet_answers", "Answers by arm; an override says why another answered.", ["model", "arm", "override"],
            registry=registry,
        )  # fmt: skip
        self.errors = Counter("grownet_arm_errors", "Failures of an arm.", ["model", "arm"], registry=registry)
        self.late = Counter(
            "grownet_arm_late", "Answers of an arm past the deadline.", ["model", "arm"], registry=registry
        )
        self.seconds = Histogram(
            "grownet_answer_seconds", "From the request to the written answer.", PER_MODEL, buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.feedback = Counter(
            "grownet_feedback", "Feedback by what became of it.", ["model", "result"], registry=registry
        )
        self.beside = Counter(
            "grownet_beside", "Scores off the path: done, failed, dropped.", ["model", "result"], registry=registry
        )
        self.uncounted = Counter(
            "grownet_journal_bad_lines", "Journal lines that could not be read.", registry=registry
        )
        self._journal = Gauge("grownet_journal_bytes", "Written since the start.", registry=registry)
        self._fsync = Gauge("grownet_journal_fsync_failures", "Since the start.", registry=registry)
        self._revision = Gauge("grownet_plan_revision", "Revision that answers.", PER_MODEL, registry=registry)
        self._age = Gauge(
            "grownet_plan_age_seconds", "Since the ledger last confirmed the plan.", PER_MODEL, registry=registry
        )
        self._loaded = Gauge(
            "grownet_loaded", "1 for each artifact in memory.", ["model", "arm", "artifact"], registry=registry
        )
        self._forced = Gauge("grownet_break_glass", "1 while a file forces the rules.", registry=registry)

    def page(self, desks: Iterable[Desk], *, journal_bytes: int, fsync_failures: int, forced: bool) -> bytes:
        """The text of `/metrics`."""
        self._journal.set(journal_bytes)
        self._fsync.set(fsync_failures)
        self._forced.set(forced)
        self._loaded.clear()
        for desk in desks:
            view = desk.view
            if view is None:
                continue
            self._revision.labels(desk.name).set(view.plan.revision)
            self._age.labels(desk.name).set(time.monotonic() - view.confirmed_at)
            for name in ("champion", "previous", "canary", "control"):
                loaded = view.of(view.arm(name))
                if loaded is not None and loaded.content not in view.tripped:
                    self._loaded.labels(desk.name, name, loaded.content).set(1)
        return generate_latest(self._registry)
