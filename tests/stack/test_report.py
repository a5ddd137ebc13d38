"""The report: one page, offline, whose figures are those of the client's own record."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stack.replay import Sent
from stack.report import Stage, Story, latencies, write

START = datetime(2026, 1, 1, tzinfo=UTC)


def story(answers: int) -> Story:
    sent = [
        Sent(
            wall=START.timestamp() + n / 50, event=START + timedelta(hours=n), status=200 if n % 50 else 503,
            seconds=0.002 + (n % 7) / 1000, arm="canary" if n % 3 == 0 else "champion", version=n % 2, revision=1, hit=float(n % 2),
        )
        for n in range(answers)
    ]  # fmt: skip
    releases = [
        {
            "revision": 1,
            "created_at": START.isoformat(),
            "actor": "guard",
            "reason": "<b>why</b>",
            "serves": "the rules",
        }
    ]
    return Story(started=START, stages=[Stage("one", 1.5, ["a line & more"])], releases=releases, sent=sent)


def test_the_page_holds_figures_and_plots_and_no_outside_address(tmp_path: Path) -> None:
    page = write(tmp_path, story(1000))
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "a line &amp; more" in text
    assert "&lt;b&gt;why&lt;/b&gt;" in text
    outside = set(re.findall(r'(?:src|href)="(https?://[^"]+)"', text))
    assert outside == set()
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts["requests"]["sent"] == 1000
    assert facts["requests"]["failed"] == 20


def test_a_story_that_ended_early_still_gives_a_page(tmp_path: Path) -> None:
    assert "grownet demo" in write(tmp_path, Story(started=START)).read_text(encoding="utf-8")


def test_latencies_leave_failures_out() -> None:
    def sent(status: int, seconds: float) -> Sent:
        return Sent(wall=0, event=START, status=status, seconds=seconds)

    assert latencies([sent(200, 0.001), sent(200, 0.003), sent(503, 9)])["max"] == 3.0
    assert latencies([]) == {}
