"""The text that Prometheus reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from records import Answer
from serving.metrics import Metrics, merged

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def line(arm: str = "champion", version: int = 1, override: str = "") -> Answer:
    return Answer(
        prediction_id="id", model="recommendation", arm=arm, version=version, artifact="", revision=3, event_time=NOON,
        received_at=NOON, subject="", bucket=0, decision=None, override=override, latency_us=0,
    )  # fmt: skip


def page(metrics: Metrics) -> list[str]:
    return (
        metrics.page("replica-1", [CounterMetricFamily("grownet_written_bytes", "W.", value=7.0)]).decode().splitlines()
    )


def test_counts_add_up_by_label() -> None:
    metrics = Metrics()
    for arm in ("champion", "champion", "canary"):
        metrics.answered([line(arm)], 0.001)
    metrics.answered([line("rules", 0, "deadline")], 0.3)
    metrics.count("journal_bad_lines", more=3)
    lines = page(metrics)
    for expected in (
        'grownet_answers_total{arm="champion",model="recommendation",override="",replica="replica-1",version="1"} 2.0',
        'grownet_answers_total{arm="canary",model="recommendation",override="",replica="replica-1",version="1"} 1.0',
        'grownet_fallbacks_total{model="recommendation",override="deadline",replica="replica-1"} 1.0',
        'grownet_journal_bad_lines_total{replica="replica-1"} 3.0',
        'grownet_written_bytes_total{replica="replica-1"} 7.0',
    ):
        assert expected in lines


def test_times_fall_into_buckets_that_add_up_whatever_the_override() -> None:
    metrics = Metrics()
    for took, override in ((0.0004, ""), (0.0005, ""), (0.002, "stale"), (30.0, "")):
        metrics.answered([line(override=override)], took)
    lines, labels = page(metrics), 'arm="champion",{}model="recommendation",replica="replica-1",version="1"'
    for bound, count in {"0.0005": 2, "0.001": 2, "0.0025": 3, "1.0": 3, "+Inf": 4}.items():
        with_bound = labels.format(f'le="{bound}",')
        assert f"grownet_answer_seconds_bucket{{{with_bound}}} {count}.0" in lines
    assert f"grownet_answer_seconds_count{{{labels.format('')}}} 4.0" in lines
    assert any(line.startswith(f"grownet_answer_seconds_sum{{{labels.format('')}}} 30.0029") for line in lines)


def test_a_batch_is_many_answers_and_one_call_of_each_of_its_arms() -> None:
    metrics = Metrics()
    metrics.answered([line(), line(), line("canary", 2)], 0.02)
    lines, rest = page(metrics), 'model="recommendation",{}replica="replica-1"'
    calls = rest.format("")
    both = rest.format('override="",')
    assert f'grownet_answers_total{{arm="champion",{both},version="1"}} 2.0' in lines
    for arm, version in (("champion", 1), ("canary", 2)):
        assert f'grownet_answer_seconds_count{{arm="{arm}",{calls},version="{version}"}} 1.0' in lines


def test_a_label_may_be_anything() -> None:
    metrics = Metrics()
    metrics.count("replies", 'a"b\n# HELP ', "200")
    assert r'grownet_replies_total{replica="replica-1",route="a\"b\n# HELP ",status="200"} 1.0' in page(metrics)
    one, other = metrics.page("a"), metrics.page("b")
    assert len(merged([one, other]).splitlines()) == len(one.splitlines()) + 1


def test_the_pages_of_a_set_make_one_that_a_parser_reads() -> None:
    pages = []
    for replica in ("replica-1", "replica-2"):
        metrics = Metrics()
        metrics.answered([line()], 0.001)
        metrics.count("replies", "predict", "200", more=2)
        pages.append(metrics.page(replica))
    text = merged(pages).decode()
    heads = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(heads) == len(set(heads))
    families = {one.name: one for one in text_string_to_metric_families(text)}
    replies = {one.labels["replica"]: one.value for one in families["grownet_replies"].samples}
    assert replies == {"replica-1": 2.0, "replica-2": 2.0}
    assert families["grownet_answer_seconds"].type == "histogram"
