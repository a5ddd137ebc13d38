"""The demo's second half: a real season that drifts while the KPI holds, then a planted drift that costs hits.

The monitor flow runs on demand, since the demo's schedules are off; everything that follows from its findings is done by
the guard and by the trigger of prefect.yaml. Called by `stack.chapters`, whose `Demo` it plays on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from errors import StackError
from records import Candidate, Ruling, utc_now
from stack.backstage import Telling, until
from stack.planted import AGAIN
from stack.replay import SEASON_START

if TYPE_CHECKING:
    from stack.chapters import Demo

EXPORT = "planted_export.parquet"  # below the demo's home
SEASON_PACE = 220.0  # requests a second while weeks go by
PAUSE = datetime(2011, 11, 7, tzinfo=UTC)  # a window ends here, and the first monitor run looks back
REAL_UNTIL, PLANTED_UNTIL = "2011-10", "2012-03"  # last batches taken in before the pause, and at the end


def season(demo: Demo, orders: pd.DataFrame) -> None:
    """The weeks to the seventh of November, as they were."""
    with demo.chapters.chapter(f"The season: real orders to {PAUSE:%B %-d}") as telling:
        _ingested(demo, REAL_UNTIL, lambda: demo.traffic.waiting)
        telling.say(revenue_in_words(orders))
        telling.say(f"{len(demo.traffic.sent):,} requests so far; the batches to {REAL_UNTIL} are taken in")


def drift_alone(demo: Demo) -> None:
    """Drift is seen; the KPI holds, so nothing is retrained."""
    with demo.chapters.chapter("The monitors catch up: drift, and the KPI holds") as telling:
        ruling = _ruled(demo, telling, "drift", report=True)
        plan = demo.plan()
        if not plan.frozen or plan.champion.is_rules or "retrain" in ruling.actions:
            raise StackError("drift alone", expected="a freeze and nothing else", got=plan.reason)
        telling.say(f"{plan.champion.name} goes on answering; nothing is promoted unattended, and nothing is retrained")


def planted_drift(demo: Demo) -> None:
    """The customers change their numbers: what was learned of one is held against another."""
    with demo.chapters.chapter(
        "The rest of the season; then a planted drift: every customer gets another's number"
    ) as telling:
        demo.traffic.pace, demo.traffic.late = SEASON_PACE, True
        _ingested(demo, PLANTED_UNTIL, lambda: demo.traffic.asked)
        telling.say("after the real orders the autumn comes again, 15 weeks later, with the numbers drawn anew")
        telling.say("what was bought in these weeks is reported after them")
        telling.say(f"{len(demo.traffic.sent):,} requests so far; the batches to {PLANTED_UNTIL} are taken in")


def drift_with_drop(demo: Demo) -> None:
    """Drift and a KPI drop: the guard takes the champion back, freezes, and asks for a retraining."""
    with demo.chapters.chapter("Drift and a KPI drop: rollback, freeze, retraining asked for") as telling:
        ruling = _ruled(demo, telling, "drift_and_drop", report=False, then=demo.traffic.tell)
        until(lambda: demo.traffic.done or None, "the last outcome", 120)
        plan = demo.plan()
        if not plan.frozen or not plan.champion.is_rules or "retrain" not in ruling.actions:
            raise StackError("drift and drop", expected="rollback, freeze, retraining", got=plan.reason)
        telling.say(f"revision {plan.revision}: {plan.champion.name} answers; {', '.join(ruling.actions)}")
        demo.story.retraining |= {"verdict": ruling.id, "planted": f"{AGAIN:%Y-%m-%d}"}
    with demo.chapters.chapter("The retrained candidate: trigger, features, training, gates") as telling:
        candidate = until(lambda: _waiting(demo, ruling.id), "a retrained candidate that waits for the board", 300, 0.5)
        telling.say(f"the event grownet.retrain.requested started the lifecycle with verdict {ruling.id}")
        telling.say(f"{candidate.versions.model.name}, learned from rows before {candidate.trained_until:%Y-%m-%d}")
        telling.say("its ballot is open and names the freeze: nothing happens before three people say yes")
        demo.story.retraining["candidate"] = candidate.versions.model.name


def revenue_in_words(orders: pd.DataFrame) -> str:
    """What the season is: revenue of a week, before and at its height."""
    revenue = weekly_revenue(orders)
    first, most = revenue.iloc[0], revenue.max()
    return (
        f"revenue of a week: {first / 1000:,.0f} thousand pounds in the first of September, on its way to {most / 1000:,.0f} "
        f"thousand in that of {revenue.idxmax():%B %-d}; the season is real drift, and no reason to retrain by itself"
    )


def weekly_revenue(orders: pd.DataFrame) -> pd.Series:
    """Pounds of each full week of orders from September on, by its first day."""
    start = SEASON_START.replace(tzinfo=None)
    sold = orders[(orders["invoice_date"] >= start) & (orders["quantity"] > 0) & (orders["unit_price"] > 0)]
    weeks = (sold["invoice_date"] - start) // pd.Timedelta(days=7)
    revenue = (sold["quantity"] * sold["unit_price"]).groupby(weeks).sum()
    revenue.index = pd.DatetimeIndex([start + pd.Timedelta(days=7 * int(week)) for week in revenue.index])
    return revenue.iloc[:-1]  # the last one is not over


def _ingested(demo: Demo, last: str, over: Callable[[], bool]) -> None:
    """Takes the batches in while the traffic goes on, and waits for both."""
    from stack.chapters import DATASET, IDLE_PACE

    run = demo.runs.start("ingest/ingest", {"dataset": DATASET, "until": last})
    until(lambda: over() or None, "the traffic of these weeks", 240)
    demo.traffic.pace = IDLE_PACE
    kind, message = demo.runs.finish(run, 240)
    if kind != "COMPLETED":
        raise StackError(f"ingest to {last}", expected="COMPLETED", got=f"{kind}: {message}")


def _ruled(demo: Demo, telling: Telling, row: str, *, report: bool, then: Callable[[], None] | None = None) -> Ruling:
    """Runs the monitor, with Evidently's report or without, does what comes then, and waits for the guard's ruling."""
    from stack.chapters import MODEL

    asked = utc_now()
    demo.runs.complete("monitor/monitor", {"model": MODEL, "report": report}, seconds=180)
    if then is not None:
        then()
    ruling = until(lambda: _newest(demo, asked, row), f"a ruling {row!r}", 60)
    telling.say(f"{ruling.level}, row {ruling.row!r} of the decision table: {ruling.reason}")
    demo.story.reports[f"monitor, {row.replace('_', ' ')}"] = demo.page(f"monitor/{MODEL}/v*[0-9].html")
    return ruling


def _newest(demo: Demo, since: datetime, row: str) -> Ruling | None:
    from stack.chapters import MODEL
    from stores.ledger import rulings
    from tasks.operate import opened

    with opened(demo.settings, "reader") as ledger:
        found = [one for one in rulings.rulings(ledger, MODEL, since) if one.row == row]
    return found[-1] if found else None


def _waiting(demo: Demo, verdict: str) -> Candidate | None:
    """The candidate that answers a verdict, once its ballot is open.

    Raises:
        StackError: when it did not pass its gates.
    """
    from stack.chapters import MODEL
    from stores.ledger import ballots, evidence
    from tasks.operate import opened

    with opened(demo.settings, "reader") as ledger:
        found = next((one for one in evidence.candidates(ledger, MODEL) if one.verdict == verdict), None)
        asked = ballots.open_for(ledger, MODEL)
    if found is None:
        return None
    gone = next((one["discarded"] for one in demo.standing()["candidates"] if one["id"] == found.id), "")
    if gone:
        raise StackError(f"candidate {found.id}", expected="one that passes its gates", got=gone)
    waits = asked is not None and asked.question.candidate == found.id and asked.subject.names_freeze
    return found if waits else None
