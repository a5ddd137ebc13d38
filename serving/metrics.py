"""Counts and times of one replica for Prometheus, in its text format. Read by `/metrics`; no personal data in it.

Counting is one dictionary update, because it happens in every request; the metrics are made when somebody looks.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from serving.desk import Desk

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "replies": ("HTTP replies.", ("route", "status")),
    "answers": ("Answers by arm; an override says why another answered.", ("model", "arm", "override")),
    "arm_errors": ("Failures of an arm.", ("model", "arm")),
    "arm_late": ("Answers of an arm past the deadline.", ("model", "arm")),
    "feedback": ("Feedback by what became of it.", ("model", "result")),
    "beside": ("Scores off the path: done, failed, dropped.", ("model", "result")),
    "journal_bad_lines": ("Journal lines that could not be read.", ()),
}


class Metrics:
    """What is counted. `count` and `seconds` are for the loop; a thread's own counts must not be anybody else's."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[tuple[str, ...], int]] = {name: defaultdict(int) for name in COUNTERS}
        self._times: dict[str, tuple[list[int], list[float]]] = {}  # model -> counts per bucket, [sum]

    def count(self, name: str, *labels: str, more: int = 1) -> None:
        self._counts[name][labels] += more

    def seconds(self, model: str, took: float) -> None:
        """An answer took so long, from the request to the written line."""
        known = self._times.get(model)
        if known is None:
            known = self._times.setdefault(model, ([0] * (len(BOUNDS) + 1), [0.0]))
        known[0][bisect.bisect_left(BOUNDS, took)] += 1
        known[1][0] += took

    def page(self, desks: Iterable[Desk], gauges: dict[str, tuple[str, float]]) -> bytes:
        """The text of `/metrics`; `gauges` are further values with their help text."""
        registry = CollectorRegistry()
        registry.register(_Now([*self._counted(), *self._timed(), *_of_desks(desks), *_gauges(gauges)]))
        return generate_latest(registry)

    def _counted(self) -> Iterator[Metric]:
        for name, (text, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"grownet_{name}", text, labels=labels)
            for values, count in list(self._counts[name].items()):
                family.add_metric(values, count)
            yield family

    def _timed(self) -> Iterator[Metric]:
        text = "From the request to the written answer."
        family = HistogramMetricFamily("grownet_answer_seconds", text, labels=("model",))
        edges = [*map(str, BOUNDS), "+Inf"]
        for model, (counts, total) in list(self._times.items()):
            family.add_metric((model,), list(zip(edges, itertools.accumulate(counts), strict=True)), total[0])
        yield family


class _Now:
    """What a registry asks for its metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauges(gauges: dict[str, tuple[str, float]]) -> Iterator[Metric]:
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"grownet_{name}", text, value=value)


def _of_desks(desks: Iterable[Desk]) -> Iterator[Metric]:
    revision = GaugeMetricFamily("grownet_plan_revision", "Revision that answers.", labels=("model",))
    age = GaugeMetricFamily("grownet_plan_age_seconds", "Since the ledger confirmed the plan.", labels=("model",))
    loaded = GaugeMetricFamily("grownet_loaded", "1 per arm in memory.", labels=("model", "arm", "artifact"))
    for desk in desks:
        view = desk.view
        if view is None:
            continue
        revision.add_metric((desk.name,), view.plan.revision)
        age.add_metric((desk.name,), time.monotonic() - view.confirmed_at)
        for name in ("champion", "previous", "canary", "control"):
            found = view.of(view.arm(name))
            if found is not None and found.content not in view.tripped:
                loaded.add_metric((desk.name, name, found.content), 1)
    yield from (revision, age, loaded)
