"""Makes the page of a model's newest window: our figures at once, then Evidently's from a sample of its answers.

Reads findings just written, journals and the artifact's reference; writes `home/pages/monitor`. Called by the monitor
flow, which may leave Evidently out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pandas as pd

from models.contract import Decided
from records import RULES, Answer, Finding
from stores.ledger import plans
from tasks import drift_page, sample_report
from tasks.drift_page import Theirs
from tasks.eyes import Eye, observed
from tasks.monitor import Watch
from tasks.reading import Sought, journals_of, newest
from tasks.reference import said
from tasks.timeline import subjects


def publish(watch: Watch, found: Sequence[Finding], *, theirs: bool = True) -> Path | None:
    """Writes the page about the newest drift finding of the version that answers; None when there is none to show.

    Args:
        found: what one run said of one model.
        theirs: whether Evidently's report is made too, which takes 10 to 20 seconds.
    """
    drift = next((one for one in reversed(found) if one.kind == "drift" and one.version == found[0].version), None)
    if drift is None or not drift.figures.get("columns"):
        return None
    own = [drift, *(one for one in found if one.kind != "drift" and one.version == drift.version)]
    beside = watch.settings.home / drift.report.replace(".html", "-evidently.html")
    page = drift_page.write(watch.settings.home, own, None)
    made = _theirs(watch, drift, beside) if theirs else None
    return drift_page.write(watch.settings.home, own, made) if made else page


def _theirs(watch: Watch, drift: Finding, page: Path) -> Theirs | None:
    signed = plans.current(watch.ledger, drift.model)
    subject = next((one for one in subjects(signed.plan) if one.version == drift.version), None) if signed else None
    eye = watch.eyes.of(subject.model, subject.artifact) if subject else None
    if eye is None:
        return None
    most = watch.config.models[drift.model].monitor.report_rows
    window = (("event_time", ">=", drift.window_start), ("event_time", "<", drift.window_end))
    sought = Sought(drift.model, (("version", "=", drift.version), *window))
    lines = newest(journals_of(watch.settings), lambda line: _in_window(line, drift), sought, most)
    current = sampled(eye, lines)
    left_out = sample_report.write(eye.sample, current, page)
    file = page.name if page.exists() else ""
    answers = int(drift.figures.get("answers", len(lines)))
    return Theirs(file, len(current), answers, len(eye.sample), left_out)


def sampled(eye: Eye, lines: Sequence[Answer]) -> pd.DataFrame:
    """What the model saw and said of some answers; one row for each whose features were kept and can be read."""
    seen = observed(eye, lines)
    if any(line.version == RULES for line in lines):
        return seen.frame
    return seen.frame.join(said([msgspec.convert(lines[at].decision, Decided) for at in seen.at]))


def _in_window(line: Answer, drift: Finding) -> bool:
    mine = (line.model, line.version) == (drift.model, drift.version) and not line.paired_with
    return mine and line.features is not None and drift.window_start <= line.event_time < drift.window_end
