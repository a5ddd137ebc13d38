"""From the newest data to a candidate that people are asked about: features, training, gates, and the ballot.

Reads the lake (the newest snapshots; the flow `ingest` takes batches in), writes features, a candidate, its evidence.
Started by its cadence, by `grownet retrain MODEL`, or by hand; a reason is required and kept. A candidate that does
not pass its gates ends the run as completed, says why, and asks nobody.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed

from tasks.stages import accept, ask_for_release, build_features, judge, show_what_serves, train_candidate


@flow(name="lifecycle", flow_run_name="lifecycle-{model}", description=__doc__, persist_result=False)
def lifecycle(model: str, reason: str, verdict: str = "", segment: str = "") -> State[Any]:
    """Trains and judges one candidate of `model`.

    Args:
        model: a name of models/.
        reason: why; kept with the candidate and shown to those who vote.
        verdict: id of the guard's verdict that asked for it, if one did.
        segment: refused for now: a model is trained for everybody.
    """
    why = accept(model, reason, verdict, segment)
    show_what_serves(model)
    built = build_features(model)
    candidate = train_candidate(model, built, why)
    evidence = judge(candidate)
    if not evidence.passed:
        return Completed(name="Discarded", message=f"{candidate.id}: {evidence.reason}")
    run = ask_for_release(candidate)
    return Completed(name="Asked", message=f"{candidate.id} passed its gates; people are asked in run {run}")
