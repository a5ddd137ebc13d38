"""Who asks for a training: a person, a cadence, or a verdict of the guard. Checks the order, and answers it once.

Reads the ledger and the configuration; starts runs of the lifecycle over Prefect's HTTP API. Used by the lifecycle flow
and by `grownet retrain`. A verdict and a period have one candidate each, however often they are told of.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from checks.fairness import parse
from checks.periods import Every, period_of
from configs.load import recipe_of
from configs.schema import Config, Settings
from errors import UsageError
from records import Candidate, Order
from stores.ledger import ballots, evidence, rulings
from stores.ledger.engine import Ledger
from tasks import runs
from tasks.operate import opened

LIFECYCLE = "lifecycle/lifecycle"
RETRAIN = "retrain"  # the action of a ruling that asks for a training


def accepted(settings: Settings, config: Config, order: Order, at: datetime) -> Order:
    """The order with the reason that is kept, and the period of its cadence. Changes nothing.

    Raises:
        NotFound: for a model or a verdict that does not exist.
        UsageError: without a reason, for a model that is switched off, a verdict that is about another model or asks
            for no training, a cadence that is not the model's, or a segment that is not written KIND=NAME.
    """
    cadence = recipe_of(config, order.model).cadence
    if order.segment:
        parse(order.segment)
    if order.verdict and order.cadence:
        raise UsageError("order", expected="a verdict or a cadence", got="both", do="start one run for each")
    reason = order.reason.strip()
    if order.verdict:
        asked = _asked(settings, order)
        return replace(order, reason=f"{reason or asked} (verdict {order.verdict})")
    if order.cadence:
        if order.cadence != cadence.every:
            raise UsageError(f"cadence of {order.model}", expected=cadence.every, got=order.cadence)
        period = period_of(order.cadence, at)
        return replace(order, reason=reason or f"{period}: {cadence.why}", period=period)
    if not reason:
        raise UsageError("reason", expected="why this training is asked for", got="nothing", do="say it in a sentence")
    return replace(order, reason=reason)


def earlier(settings: Settings, order: Order) -> Candidate | None:
    """The candidate that this verdict or period has already; a person's order never has one."""
    if not (order.verdict or order.period):
        return None
    with opened(settings, "reader") as ledger:
        found = evidence.candidates(ledger, order.model)
    return next((one for one in found if (one.verdict, one.period) == (order.verdict, order.period)), None)


def ended(settings: Settings, candidate: Candidate) -> str:
    """How a candidate ended for the lifecycle, or an empty text while people have yet to be asked about it.

    Raises:
        StackError: when Prefect is away.
    """
    with opened(settings, "reader") as ledger:
        if (why := evidence.discarded(ledger, candidate.id)) is not None:
            return f"{candidate.id} was discarded: {why}"
        asked = [one for one in ballots.ballots(ledger, candidate.model) if one.question.candidate == candidate.id]
    if asked:
        return f"{candidate.id} is before people: ballot {asked[-1].id} is {asked[-1].status}"
    run = runs.under_way(settings, candidate.id)
    return f"{candidate.id} is before people: release run {run} begins" if run else ""


def same_again(ledger: Ledger, candidate: Candidate) -> bool:
    """True when the candidate is the very version that its verdict was about: nothing new was learned."""
    return bool(candidate.verdict) and rulings.ruling(ledger, candidate.verdict).version == candidate.number


def start(settings: Settings, config: Config, order: Order, at: datetime) -> str:
    """Starts a lifecycle run for a person, who hears at once when the order cannot be carried out; the run's id.

    Raises:
        UsageError, NotFound: as `accepted`.
        StackError: when Prefect is away.
    """
    accepted(settings, config, order, at)
    return runs.start_deployment(settings, LIFECYCLE, _parameters(order))


def start_due(settings: Settings, config: Config, cadence: Every, at: datetime) -> dict[str, str]:
    """Starts a lifecycle run for each model of a cadence that is not done with this period yet.

    Asked for again, the run of the period is found again; one that died on the way gets a successor, which goes on.

    Returns:
        by model the run's id, or the id of the candidate when all is done.

    Raises:
        StackError: when Prefect is away; a repeat starts what is missing.
    """
    found = {}
    for name, recipe in sorted(config.models.items()):
        if not recipe.enabled or recipe.cadence.every != cadence:
            continue
        order = Order(model=name, cadence=cadence)
        known = earlier(settings, accepted(settings, config, order, at))
        key = f"{name} {period_of(cadence, at)}"
        done = known.id if known and ended(settings, known) else ""
        found[name] = done or runs.start_once(settings, LIFECYCLE, _parameters(order), key)
    return found


def _asked(settings: Settings, order: Order) -> str:
    """The reason of the ruling that asks for this training."""
    with opened(settings, "reader") as ledger:
        found = rulings.ruling(ledger, order.verdict)
    thing = f"verdict {order.verdict}"
    if found.model != order.model:
        raise UsageError(thing, expected=f"one about {order.model}", got=f"one about {found.model}")
    if RETRAIN not in found.actions:
        do = "a training that no verdict asks for is a person's: `grownet retrain MODEL --reason ...`"
        raise UsageError(thing, expected=f"one that asks to {RETRAIN}", got=list(found.actions) or "no action", do=do)
    return found.reason


def _parameters(order: Order) -> dict[str, str]:
    """Those of the flow; what is not given is left out."""
    given = {name: getattr(order, name) for name in ("model", "reason", "verdict", "segment", "cadence")}
    return {name: value for name, value in given.items() if value}
