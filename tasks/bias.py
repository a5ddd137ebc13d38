"""The periodic bias audit of what serves a model: by segment, on the newest rows and on what it really answered.

Reads the plan, the champion's artifact, the lake, the journals; writes audits to the ledger, with an alert when a gap beyond
the limit is new or gone. It changes no plan: a gap asks people. Started weekly by the flow `audit`, or by `grownet audit start`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd

from checks import bias as judging
from checks.alerts import alert
from checks.bias import Said
from configs.schema import Config, Settings
from errors import DataError, NotFound
from records import AlertBody, BiasAudit, OutboxEvent, SegmentFigure, digest_of
from stores.ledger import bias
from tasks.features import history, newest
from tasks.heard import Heard, heard, segments_of
from tasks.ingest import newest_snapshot
from tasks.oneline import oneline
from tasks.operate import opened
from tasks.served import Served, served_by
from tasks.threads import limited
from tasks.trial import INSTANT
from tasks.validate import current_plan

ACTOR = "audit"
Source = Literal["history", "live", "chosen"]
Span = tuple[datetime, datetime]
Audits = Sequence[BiasAudit]
Write = Callable[[Audits, Audits], object]


def audit(settings: Settings, config: Config, model: str, at: datetime, write: Write) -> list[BiasAudit]:
    """The audits of what serves a model at a moment, written to the ledger; none while nothing serves.

    Args:
        write: makes their page, given them and those before, newest first. It is made before they are saved, since an alert
            that links it is told once and has to find it.

    Raises:
        TamperError: when the current plan is not what was signed.
        LedgerUnavailable, StackError: when ledger or store is away: worth another try.
    """
    with opened(settings, "flow") as ledger:
        plan = current_plan(settings, ledger, model)
        if plan is None:
            return []
        served = served_by(settings, config, plan)
        found = [_audit(served, source, said, at, span) for source, said, span in _said(settings, config, served, at)]
        earlier = bias.audits(ledger, model)
        write(found, earlier[::-1])
        blind = _blind(served, found[0], earlier, config)
        bias.save(ledger, found, lambda now, before: blind or news(now, before, config), ACTOR)
    return found


def newest_audits(settings: Settings, config: Config) -> dict[str, list[BiasAudit]]:
    """The newest audits by model; an empty list for one that was never audited."""
    with opened(settings, "reader") as ledger:
        return {name: bias.newest(ledger, name) for name, recipe in sorted(config.models.items()) if recipe.enabled}


def describe(found: dict[str, list[BiasAudit]]) -> str:
    """The audits in words, a paragraph a model."""
    lines = []
    for model, audits in found.items():
        lines.append(model if audits else f"{model}: never audited")
        for one in audits:
            who = f"v{one.version}" if one.version else "rules"
            about = f"{one.source} ({one.metric}, {who}, {one.found_at:%Y-%m-%d})"
            lines.append(f"  {oneline(f'{about}: {one.answer}. {one.reason}')}")
        lines += [f"  {oneline(audits[0].report)}"] if audits else []
    return "\n".join(lines)


def news(now: BiasAudit, before: BiasAudit | None, config: Config) -> OutboxEvent | None:
    """The alert that an audit asks for: a gap that was not there, or one that is gone; None when nothing changed."""
    worse, over = judging.is_worse(now, before), judging.is_over(now, before)
    if not worse and not over:
        return None
    who = f"version {now.version}" if now.version else "the rules"
    live = now.source != "history"  # its segments may be none of the model's
    named = [] if live else [one for one in sorted(judging.beyond(now)) if one.isprintable() and "`" not in one]
    again = f"`grownet retrain {now.model} --reason ...{f' --segment {shlex.quote(named[0])}' if named else ''}`"
    return alert(
        key=[now.id, "bias"],
        level="warning" if worse else "ok",
        model=now.model,
        title=f"{'a segment is served differently' if worse else 'no segment is beyond the limit'} ({now.source})",
        body=AlertBody(
            what=f"{now.metric} of {who}, {now.source}: {now.reason}.",
            evidence={
                f"{one.kind}={one.name}": f"{shown(one, now)}, {one.count} of {now.subjects}"
                for one in now.segments
                if one.answer == "yes"
            },
            done="nothing: what serves is as before, a gap asks people",
            owner=config.defaults.owners.validate_,
            next=f"Read the page and say why. Then {again}, or change the limit with a reason, or accept it in the review."
            if worse
            else "Nothing.",
            link=now.report,
        ),
        at=now.found_at,
    )


def _blind(served: Served, now: BiasAudit, earlier: Audits, config: Config) -> OutboxEvent | None:
    """The alert of an artifact that cannot be read, once until something could be looked at again."""
    if not served.broken:
        return None
    seen = [one.id for one in earlier if one.subjects][-1:]
    return alert(
        key=[now.model, served.artifact, *seen, "unreadable"],
        level="warning",
        model=now.model,
        title="no segment can be audited: the artifact cannot be read",
        body=AlertBody(
            what=f"Version {now.version} serves, and {served.broken}.",
            evidence={"artifact": served.artifact},
            done="nothing: what serves is as before, and nobody is audited",
            owner=config.defaults.owners.deploy,
            next="Compare the artifact store with a backup; `grownet audit verify` tells whether the ledger is what was "
            "signed. Then `grownet audit start`, or release another version.",
            link=now.report,
        ),
        at=now.found_at,
    )


def shown(one: SegmentFigure, of: BiasAudit) -> str:
    """A segment's gap in words: relative, or in points of a share."""
    if one.gap is None:
        return f"too few: {one.count}"
    unit = " points" if of.source == "chosen" else " %"
    ends = f" [{100 * one.low:+.0f}, {100 * one.high:+.0f}]" if one.low is not None and one.high is not None else ""
    return f"{100 * one.gap:+.0f}{unit}{ends}"


def _said(settings: Settings, config: Config, served: Served, at: datetime) -> list[tuple[Source, Said, Span]]:
    limits = served.recipe.gates
    if served.broken:
        return [("history", judging.nothing(served.broken, limits.bias_max_gap), (at, at))]
    with limited(settings.threads):
        past, window = _history(settings, config, served, at)
        span = (at - timedelta(days=served.recipe.audit.live_days), at)
        told, lost = heard(settings, served, span[0])
        told, segments = segments_of(served, told)
        found: list[tuple[Source, Said, Span]] = [
            ("history", past, window),
            ("live", _live(served, segments, told, lost), span),
        ]
        if served.recipe.audit.chosen:
            found.append(("chosen", _chosen(served, segments, told), span))
    return found


def _history(settings: Settings, config: Config, served: Served, at: datetime) -> tuple[Said, Span]:
    """The offline metric on what happened since it was trained, at most the newest `outcome_days`."""
    recipe = served.recipe
    try:
        tables = sorted({config.datasets[dataset].table for dataset in recipe.tables.values()})
        snapshots = tuple(newest_snapshot(settings, table) for table in tables)
        end = newest(snapshots) + INSTANT
    except (NotFound, DataError) as error:
        return judging.nothing(str(error), recipe.gates.bias_max_gap), (at, at)
    start = end - timedelta(days=recipe.split.outcome_days)
    start = max(start, served.trained_until) if served.trained_until else start
    if start >= end:
        return judging.nothing("there are no rows since it was trained", recipe.gates.bias_max_gap), (end, end)
    trial = history(settings, config, served.name, snapshots)
    trial = trial if served.params is None else replace(trial, params=served.params)
    try:
        scores = trial.scores(served.fitted, start, end)[recipe.metric]
        segments = trial.segments(start, end)
    except DataError as error:  # a history that begins later
        return judging.nothing(str(error), recipe.gates.bias_max_gap), (start, end)
    return judging.of_metric(scores, segments, recipe, recipe.gates.bias_max_gap), (start, end)


def _live(served: Served, segments: pd.DataFrame, told: Sequence[Heard], lost: int) -> Said:
    judged = [one for one in told if one.kpi is not None]
    values = judging.per_subject([one.subject for one in judged], [one.kpi for one in judged if one.kpi is not None])
    said = judging.of_metric(
        values, judging.placed(segments, values.index), served.recipe, served.recipe.audit.live_max_gap
    )
    odd = f", {lost} could not be read" if lost else ""
    return said._replace(reason=f"{said.reason}; {len(judged)} of {len(told)} answers have an outcome{odd}")


def _chosen(served: Served, segments: pd.DataFrame, told: Sequence[Heard]) -> Said:
    values = judging.per_subject([one.subject for one in told], [one.chosen for one in told])
    return judging.of_share(values, judging.placed(segments, values.index), served.recipe)


def _audit(served: Served, source: Source, said: Said, at: datetime, span: Span) -> BiasAudit:
    names = {
        "history": served.recipe.metric,
        "live": served.recipe.kpi,
        "chosen": f"share of answers {' or '.join(served.recipe.audit.chosen)}",
    }
    return BiasAudit(
        id=f"bias-{digest_of([served.name, source, served.version, served.artifact, at])[:24]}",
        model=served.name,
        source=source,
        metric=names[source],
        answer=said.answer,
        version=served.version,
        window_start=span[0],
        window_end=span[1],
        subjects=said.subjects,
        overall=said.overall,
        limit=said.limit,
        segments=said.segments,
        reason=said.reason,
        report=f"pages/audit/{served.name}/{at:%Y%m%dT%H%M%S}.html",
        found_at=at,
    )
