"""From the newest data to a candidate that people are asked about: features, training, gates, and the ballot.

Reads the lake (the newest snapshots; the flow `ingest` takes batches in), writes features, a candidate, its evidence.
Started by its cadences, by the event `grownet.retrain.requested`, or by hand (`grownet retrain MODEL`). A candidate that
does not pass its gates ends the run as completed, says why, and asks nobody.
"""

from __future__ import annotations

from typing import Any, Literal

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from records import Order
from tasks.stages import (
    accept,
    ask_for_release,
    build_features,
    judge,
    look_back,
    show_what_serves,
    start_due,
    tell_failure,
    train_candidate,
)


def _named() -> str:
    given = flow_run.parameters
    return f"lifecycle-{given['model'] or given['cadence'] or 'of-nothing'}"


@flow(name="lifecycle", flow_run_name=_named, description=__doc__, persist_result=False, on_failure=[tell_failure])
def lifecycle(
    model: str = "",
    reason: str = "",
    verdict: str = "",
    segment: str = "",
    cadence: Literal["", "weekly", "monthly", "seasonal"] = "",
) -> State[Any]:
    """Trains and judges one candidate of `model`; without a model, starts one run for each model of the cadence.

    Args:
        model: a name of models/.
        reason: why; kept with the candidate and shown to those who vote. A verdict and a cadence bring their own.
        verdict: id of the guard's ruling that asks for it; it is answered once.
        segment: KIND=NAME, such as country=home: trained for everybody, but it must be better there as well.
        cadence: trained once a period.
    """
    if cadence and not model:
        return Completed(name="Started", message=start_due(cadence))
    order = accept(Order(model=model, reason=reason, verdict=verdict, segment=segment, cadence=cadence))
    before = look_back(order)
    if before.ended:
        return Completed(name="Done before", message=before.ended)
    show_what_serves(model)
    candidate = before.candidate or train_candidate(order, build_features(order))
    evidence = judge(candidate)
    if not evidence.passed:
        return Completed(name="Discarded", message=f"{candidate.id}: {evidence.reason}")
    run = ask_for_release(candidate)
    return Completed(name="Asked", message=f"{candidate.id} passed its gates; people are asked in run {run}")
