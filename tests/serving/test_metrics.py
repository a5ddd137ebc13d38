"""The text that Prometheus reads."""

from serving.metrics import Metrics


def page(metrics: Metrics) -> list[str]:
    return metrics.page([], {"journal_bytes": ("Written.", 7.0)}).decode().splitlines()


def test_counts_add_up_by_label() -> None:
    metrics = Metrics()
    for arm in ("champion", "champion", "canary"):
        metrics.count("answers", "recommendation", arm, "")
    metrics.count("journal_bad_lines", more=3)
    lines = page(metrics)
    assert 'grownet_answers_total{arm="champion",model="recommendation",override=""} 2.0' in lines
    assert 'grownet_answers_total{arm="canary",model="recommendation",override=""} 1.0' in lines
    assert "grownet_journal_bad_lines_total 3.0" in lines
    assert "grownet_journal_bytes 7.0" in lines


def test_times_fall_into_buckets_that_add_up() -> None:
    metrics = Metrics()
    for took in (0.0004, 0.0005, 0.002, 30.0):
        metrics.seconds("recommendation", took)
    lines = page(metrics)
    for bound, count in {"0.0005": 2, "0.001": 2, "0.0025": 3, "1.0": 3, "+Inf": 4}.items():
        assert f'grownet_answer_seconds_bucket{{le="{bound}",model="recommendation"}} {count}.0' in lines
    assert 'grownet_answer_seconds_count{model="recommendation"} 4.0' in lines
    assert any(line.startswith('grownet_answer_seconds_sum{model="recommendation"} 30.0029') for line in lines)


def test_a_label_may_be_anything() -> None:
    metrics = Metrics()
    metrics.count("replies", 'a"b\n', "200")
    assert 'grownet_replies_total{route="a\\"b\\n",status="200"} 1.0' in page(metrics)
