"""Counts and times of one replica for Prometheus, in its text format. Read by `/metrics`; no personal data in it.

Counting is one or two dictionary updates, because it happens in every request; the metrics are made when somebody
looks (`serving.gauges` adds what is so at that moment). Every sample names its replica.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from records import Answer

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds
EDGES = (*map(str, BOUNDS), "+Inf")
ARM = ("model", "arm", "version")
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "replies": ("HTTP replies.", ("route", "status")),
    "arm_errors": ("Failures of an arm, for which the rules answered.", ARM),
    "arm_late": ("Answers of an arm past the deadline, for which the rules answered.", ARM),
    "feedback": ("Feedback by what became of it.", ("model", "result")),
    "beside": ("Scores off the path: done, failed, dropped.", ("model", "result")),
    "shed": ("Requests, or whole connections, told to come back or cut: why.", ("reason",)),
    "journal_dropped": ("Answers that could not be journalled: left by the rules, or refused.", ("model",)),
    "journal_bad_lines": ("Journal lines that could not be read.", ()),
}
Key = tuple[str, str, int, str]  # model, arm, version, override


class Metrics:
    """What is counted. `count` and `answered` are for the loop; a thread's own counts must not be anybody else's."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[tuple[str, ...], int]] = {name: defaultdict(int) for name in COUNTERS}
        self._answers: dict[Key, int] = defaultdict(int)
        self._times: dict[Key, tuple[list[int], list[float]]] = {}  # counts per bucket, [sum of seconds]

    def count(self, name: str, *labels: str, more: int = 1) -> None:
        self._counts[name][labels] += more

    def answered(self, lines: Sequence[Answer], took: float) -> None:
        """A call was answered by these lines in so many seconds; each arm of it was at it for as long."""
        for line in lines:
            self._answers[line.model, line.arm, line.version, line.override] += 1
        first = lines[0]
        keys: Iterable[Key] = ((first.model, first.arm, first.version, first.override),)
        if len(lines) > 1:
            keys = {(line.model, line.arm, line.version, line.override) for line in lines}
        bucket = bisect_left(BOUNDS, took)
        for key in keys:
            known = self._times.get(key)
            if known is None:
                known = self._times.setdefault(key, ([0] * len(EDGES), [0.0]))
            known[0][bucket] += 1
            known[1][0] += took

    def page(self, replica: str, more: Iterable[Metric] = ()) -> bytes:
        """The text of `/metrics`, with `more` metrics than what is counted here."""
        registry = CollectorRegistry()
        registry.register(_Now([_of(replica, one) for one in (*self._counted(), *self._answered(), *more)]))
        return generate_latest(registry)

    def _counted(self) -> Iterator[Metric]:
        for name, (text, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"grownet_{name}", text, labels=labels)
            for values, count in list(self._counts[name].items()):
                family.add_metric(values, count)
            yield family

    def _answered(self) -> Iterator[Metric]:
        answers, fallbacks = list(self._answers.items()), Counter[tuple[str, str]]()
        family = CounterMetricFamily(
            "grownet_answers", "Answers; an override says why another arm answered.", labels=(*ARM, "override")
        )
        for (model, arm, version, override), count in answers:
            family.add_metric((model, arm, str(version), override), count)
            if override:
                fallbacks[model, override] += count
        yield family
        family = CounterMetricFamily(
            "grownet_fallbacks", "Answers of another arm than the plan's.", labels=("model", "override")
        )
        for (model, override), count in fallbacks.items():
            family.add_metric((model, override), count)
        yield family
        yield self._timed()

    def _timed(self) -> Metric:
        text = "From the decoded request to the written answer, by call."
        family = HistogramMetricFamily("grownet_answer_seconds", text, labels=ARM)
        sums: dict[tuple[str, str, int], tuple[list[int], float]] = {}
        for (model, arm, version, _), (counts, total) in list(self._times.items()):
            known, seconds = sums.get((model, arm, version), ([0] * len(EDGES), 0.0))
            sums[model, arm, version] = [a + b for a, b in zip(known, counts, strict=True)], seconds + total[0]
        for (model, arm, version), (counts, seconds) in sums.items():
            buckets = list(zip(EDGES, itertools.accumulate(counts), strict=True))
            family.add_metric((model, arm, str(version)), buckets, seconds)
        return family


class _Now:
    """What a registry asks for its metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of(replica: str, metric: Metric) -> Metric:
    metric.samples = [sample._replace(labels={**sample.labels, "replica": replica}) for sample in metric.samples]
    return metric


def merged(pages: Sequence[bytes]) -> bytes:
    """One page of several replicas': what belongs to a metric stands together, as the format wants it.

    All come from the same code, so a metric has the same head in each.
    """
    blocks: dict[str, tuple[list[str], list[str]]] = {}  # metric -> head, samples
    for page in pages:
        for block in f"\n{page.decode()}".split("\n# HELP ")[1:]:
            lines = block.splitlines()
            known = blocks.setdefault(lines[0].split(" ", 1)[0], ([f"# HELP {lines[0]}", lines[1]], []))
            known[1].extend(lines[2:])
    return "".join(f"{line}\n" for head, samples in blocks.values() for line in (*head, *samples)).encode()
