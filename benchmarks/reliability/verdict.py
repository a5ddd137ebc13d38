"""Judges a scenario from the client's record: answers against the oracle, replies against the journal, errors against what
was stated. Pure but for the journal and the artifacts it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from benchmarks.client.record import Sent
from benchmarks.reliability import figures, kept
from benchmarks.reliability.kept import Kept
from benchmarks.reliability.oracle import Oracle, Timeline
from benchmarks.reliability.stage import GOOD, Promise, Run, Stated, Window, replies
from records import Answer

ALWAYS = "deadline"  # a busy machine may be late at any time; the rules answer then, and the reply says so
EXAMPLES = 3  # of what is broken, in a report
REPLY = {"prediction_id", "model", "version", "name", "arm", "revision", "override", "decision"}


class Seen(NamedTuple):
    """All answers of a record."""

    wrong: list[str]  # why
    unstated: list[str]  # overrides and errors outside of what the scenario says
    overrides: Counter[str]
    replies: list[Mapping[str, Any]]


class Verdict(NamedTuple):
    """What is said of a scenario."""

    facts: dict[str, Any]
    promises: list[Promise]


def judge(run: Run, oracle: Oracle, written: Sequence[Answer]) -> Verdict:
    """The figures of a scenario, and what every scenario promises."""
    good = [one for one in run.records if one.stream in run.asked]
    seen = look(run, good, oracle)
    journal = kept.compare(written, seen.replies)
    answers = len(seen.replies)
    facts = {
        **figures.failures(good),
        **figures.latencies([one for one in good if one.stream == GOOD]),
        "by_result": figures.counts(good),
        "answers": answers,
        "by_override": dict(sorted(seen.overrides.items())),
        "wrong": len(seen.wrong),
        "wrong_upper_95": figures.upper_bound(len(seen.wrong), answers),
        "unstated": len(seen.unstated),
        "unstated_upper_95": figures.upper_bound(min(len(seen.unstated), len(good)), len(good)),
        "journal_entries": journal.entries,
        "acknowledged": journal.acknowledged,
        "unacknowledged": journal.unacknowledged,
        "lost": len(journal.broken),
        "lost_upper_95": figures.upper_bound(min(len(journal.broken), answers), answers),
        "felt_seconds": felt(good, run.windows),
    }
    return Verdict(facts, promises(good, seen, journal))


def look(run: Run, records: Sequence[Sent], oracle: Oracle) -> Seen:
    """Every request: was it answered, as it should be, or is its error one that the scenario states?"""
    seen, stated = Seen([], [], Counter(), []), run.stated
    for one in records:
        during = within(one, run.windows, stated.felt_seconds)
        if one.status != figures.OK:
            if not (during and _stated(one, stated)):
                seen.unstated.append(f"request {one.number}: {one.status} {one.error}{one.body[:200]!r}")
            continue
        known = len(seen.replies)
        _answers(run.timeline, one, run.asked[one.stream][one.payload], oracle, seen)
        for reply in seen.replies[known:]:
            if reply["override"] not in {"", ALWAYS} and not (during and reply["override"] in stated.overrides):
                seen.unstated.append(f"request {one.number}: override {reply['override']!r}")
    return seen


def promises(records: Sequence[Sent], seen: Seen, journal: Kept) -> list[Promise]:
    """What is promised in every scenario."""
    return [
        Promise("there was traffic, and answers to check", bool(seen.replies), f"{len(records)} requests"),
        Promise("no wrong answer", not seen.wrong, _some(seen.wrong)),
        Promise(
            "each acknowledged answer is in the journal, once, as replied", not journal.broken, _some(journal.broken)
        ),
        Promise("errors and fallbacks only where stated", not seen.unstated, _some(seen.unstated)),
    ]


def within(sent: Sent, windows: Sequence[Window], felt: float) -> bool:
    """Whether a request was under way during a fault, or shortly after."""
    return any(sent.due <= window.end + felt and sent.done >= window.start for window in windows)


def felt(records: Sequence[Sent], windows: Sequence[Window]) -> float:
    """How long after the end of the last fault the last request failed; seconds."""
    if not windows:
        return 0.0
    bad = [one.done for one in records if one.status != figures.OK]
    return figures.felt_seconds(bad, max(window.end for window in windows))


def _answers(timeline: Timeline, one: Sent, asked: Sequence[bytes], oracle: Oracle, seen: Seen) -> None:
    try:
        given = replies(one)
    except (msgspec.DecodeError, TypeError, KeyError) as error:
        seen.wrong.append(f"request {one.number}: no reply in {one.body[:200]!r}: {error}")
        return
    if len(given) != len(asked):
        seen.wrong.append(f"request {one.number}: {len(given)} answers to {len(asked)} requests")
        return
    plans = timeline.current(one.sent, one.done)
    for reply, body in zip(given, asked, strict=True):
        if not set(reply) >= REPLY:
            seen.wrong.append(f"request {one.number}: a reply without {REPLY - set(reply)}")
            continue
        seen.replies.append(reply)
        seen.overrides[reply["override"]] += 1
        if reason := oracle.wrong(reply, body, plans):
            seen.wrong.append(f"{reply['prediction_id']}: {reason}")


def _stated(one: Sent, stated: Stated) -> bool:
    if one.status == 0:
        return stated.no_reply
    return one.status in stated.statuses and bool(one.retry_after)


def _some(broken: Sequence[str]) -> str:
    return f"{len(broken)}: {'; '.join(broken[:EXAMPLES])}" if broken else "none broken"
