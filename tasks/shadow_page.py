"""The shadow report for people: as text for the terminal, and as the page `home/pages/shadow/MODEL/NAME.html`.

The page works offline and without a script. Segment names, decisions and reasons come from data and models: they are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from checks.overlap import TOP
from checks.shadow import QUANTILES, Figures, Kpi, Score
from records import SegmentFigure
from tasks import audit_page
from tasks.bias_page import Bar, bar
from tasks.oneline import oneline
from tasks.shadow import Report

MOST_SEGMENTS = 20  # in the text; the page has all
NO_OUTCOME = (
    "not identifiable in the shadow: what comes of an answer depends on it, and only the champion's was given. "
    "Its answers are not drawn at random, so no weighting of them can stand in for the candidate's"
)
NO_RELATION = "a champion's KPI of 0 or less has no relative effect"


class Row(NamedTuple):
    """A segment, with where its KPI effect lies."""

    figures: Figures
    effect: Bar | None


class Facet(NamedTuple):
    """One question about all pairs."""

    question: str
    answer: str
    meaning: str


def write(home: Path, report: Report) -> Path:
    """Writes the page whole and returns its path; a repeat replaces it."""
    return audit_page.write(
        home / report.report,
        "shadow.html.j2",
        report=report,
        headline=_capital(headline(report)),
        by=_capital(report.by),
        facets=list(facets(report)),
        rows=rows(report),
        quantiles=QUANTILES,
        share=share,
        effect_of=effect,
    )


def kept(home: Path, report: Report) -> str:
    """As `write`, for somebody who may only read: where the page is, or why it is not."""
    try:
        write(home, report)
    except OSError as error:
        return f"not written: {error}"
    return report.report


def describe(report: Report, page: str) -> str:
    """The report in words."""
    lines = [
        f"{report.candidate} beside {report.champion}: {report.standing}; shadowed since {report.since:%Y-%m-%d %H:%M} UTC"
    ]
    lines += [f"  counted: {counted(report)}", f"  compared: {compared(report)}", f"  {headline(report)}"]
    lines += [f"  dropped by a replica: {one}" for one in report.trips]
    lines += [f"  {one.question}: {one.answer}" for one in facets(report)] if report.overall.pairs else []
    lines += list(_segments(report))
    return "\n".join(map(_line, [*lines, f"  page: {page}"]))


def headline(report: Report) -> str:
    """What a reader must know first."""
    if not report.overall.pairs:
        return f"nothing to compare{_why_nothing(report)}"
    flips = f"another decision on {share(report.overall.flips)} of the requests"
    if report.overall.enough:
        return flips
    return f"too few to judge by ({report.overall.subjects} subjects): {flips}"


def _why_nothing(report: Report) -> str:
    if report.counted.scored and report.counted.failed >= report.counted.scored:
        return f": the candidate failed on every one of {report.counted.scored} requests"
    if report.compared.seen:
        return ": the scores are here, the answers beside which they were made are not yet shipped, or on another disk"
    if report.counted.scored:
        return ": it scored, and the journals that tell of it are not on this disk and not shipped yet"
    return " yet: it has scored no request"


def counted(report: Report) -> str:
    """What the replicas counted, in words."""
    work = report.counted
    said = f"{work.scored:,} of {work.answers:,} answers scored by the candidate, {work.failed:,} failed, {work.late:,} late"
    if work.unscored is None:
        return f"{said} (its own answers since it left the shadow among them)"
    return f"{said}; {work.unscored:,} not scored: dropped, refused by a replica, or still waiting"


def compared(report: Report) -> str:
    """What of it was found, in words."""
    found = report.compared
    if found.first is None or found.last is None:
        return f"0 pairs; {_rest(report)}"
    span = f"received {found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC"
    sample = f", a sample of {found.seen:,} scores" if found.sampled else ""
    return f"{found.pairs:,} pairs{sample} of {report.overall.subjects:,} subjects, {span}; {_rest(report)}"


def _rest(report: Report) -> str:
    found = report.compared
    parts = {
        "with an outcome": found.outcomes,
        "without a score": found.failed,
        "later than the deadline": found.late,
        "whose answer is not here": found.alone,
        "lines that cannot be read": found.unreadable,
        "outcomes that do not fit the model": found.odd_outcomes,
    }
    return ", ".join(f"{count:,} {what}" for what, count in parts.items() if count or what == "with an outcome")


def facets(report: Report) -> Iterator[Facet]:
    """The figures over all pairs, with what each means."""
    every = report.overall
    yield Facet(
        "decision",
        f"{share(every.flips)} of the requests get another"
        + (f", {share(every.same)} exactly the same answer" if every.same is not None else ""),
        f"Another first item; of a plain number, one that differs by more than {report.margin:.0%}, the rollout's margin.",
    )
    if every.rank_biased is not None and every.jaccard is not None and every.top is not None:
        yield Facet(
            "rank overlap",
            f"rank-biased {every.rank_biased:.2f}; {share(every.top)} of the first {TOP}; {share(every.jaccard)} of all items (Jaccard)",
            "1 is the same list. Rank-biased overlap (Webber, Moffat and Zobel 2010, p = 0.9) counts the top most.",
        )
    if every.score is not None:
        yield Facet("score", scored(every.score), "The first score of each answer, or its value.")
    yield Facet(
        "overruled by rules",
        f"{share(every.candidate_overruled)} of the candidate's answers, {share(every.champion_overruled)} of the champion's",
        "A policy rule changed what was proposed.",
    )
    meaning = "Relative, with the always-valid interval the guard judges by, over the same requests and outcomes."
    if report.judge == "split":
        meaning = "An answer that both give alike brings both the same."
    yield Facet(f"KPI to expect ({report.kpi})", shown(every.kpi, report.judge), meaning)
    if report.guard is not None:
        said = "The same over the whole rollout, as the guard sees it; journals that are not here count too."
        yield Facet("the guard's counters", shown(report.guard, "paired"), said)


def shown(kpi: Kpi | None, judge: str) -> str:
    """A KPI in words."""
    if kpi is None or not kpi.matured:
        return "not known: no outcome yet" if judge == "paired" else f"{NO_OUTCOME}; no outcome yet"
    if judge == "split":
        ends = [("says the same", kpi.where_same), ("says something else", kpi.where_other)]
        known = "; ".join(f"{value:.4g} where the candidate {what}" for what, value in ends if value is not None)
        return f"{NO_OUTCOME}. The champion's: {known} ({kpi.matured:,} outcomes)"
    level = f"{kpi.candidate:.4g} against {kpi.champion:.4g} on {kpi.matured:,} outcomes"
    if kpi.effect is not None:
        return f"{effect(kpi)}, {level}"
    return f"{level}: {'too few for an interval' if (kpi.champion or 0) > 0 else NO_RELATION}"


def effect(kpi: Kpi | None) -> str:
    """The relative effect alone, with its interval."""
    if kpi is None or kpi.effect is None:
        return "-"
    low, high = ("?" if end is None else f"{end:+.1%}" for end in (kpi.low, kpi.high))
    return f"{kpi.effect:+.1%} [{low}, {high}]"


def scored(score: Score) -> str:
    """A shift of scores in words."""
    ends = f" [{score.low:+.3g}, {score.high:+.3g}]" if score.low is not None and score.high is not None else ""
    word = "shifted" if score.shifted else "not shifted"
    psi = f"PSI {score.psi:.3f}, by chance up to {score.chance:.3f}"
    return (
        f"{word}: mean {score.champion:.4g} to {score.candidate:.4g}, difference {score.difference:+.3g}{ends}; {psi}"
    )


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def rows(report: Report) -> list[Row]:
    """The segments, most flips first, those too small last; each with the track of its KPI effect."""
    effects = [_effect(one) for one in report.segments]
    ends = [value for one in effects if one for value in (one.gap, one.low, one.high) if value is not None]
    span = 1.05 * max([abs(value) for value in (*ends, report.margin)])
    made = [
        Row(one, bar(effect, (-report.margin,), span) if effect else None)
        for one, effect in zip(report.segments, effects, strict=True)
    ]
    return sorted(made, key=lambda one: (not one.figures.enough, -(one.figures.flips or 0.0), *_named(one.figures)))


def _effect(one: Figures) -> SegmentFigure | None:
    if one.kpi is None or one.kpi.effect is None:
        return None
    kpi = one.kpi
    return SegmentFigure(
        kind=one.kind, name=one.name, count=one.pairs, mean=kpi.candidate, gap=kpi.effect, low=kpi.low, high=kpi.high
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _named(one: Figures) -> tuple[str, str]:
    return one.kind, one.name


def _segments(report: Report) -> Iterator[str]:
    ordered: Sequence[Row] = rows(report)
    if ordered:
        yield f"  by segment ({report.by}):"
    for one, _ in ordered[:MOST_SEGMENTS]:
        if not one.enough:
            yield f"    {one.kind}={one.name}: {one.pairs:,} pairs of {one.subjects:,} subjects, too few to judge"
            continue
        ranks = "" if one.rank_biased is None else f", rank-biased {one.rank_biased:.2f}"
        kpi = f", {report.kpi} {shown(one.kpi, report.judge)}" if report.judge == "paired" else ""
        yield f"    {one.kind}={one.name}: {one.pairs:,} pairs, another decision {share(one.flips)}{ranks}{kpi}"
    if len(ordered) > MOST_SEGMENTS:
        yield f"    and {len(ordered) - MOST_SEGMENTS} more on the page"


def _line(text: str) -> str:
    """One line that shows no hidden characters; it keeps its indentation."""
    return " " * (len(text) - len(text.lstrip(" "))) + oneline(text)
