"""Takes the model named through the lifecycle and a vote, on a real Prefect server and worker; prints what came of it.

Started by test_eighth_model.py as `python -m tests.flows.eighth.drive MODEL FOLDER`, in a copy of the code that has the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx

from configs.schema import Settings
from records import ReleasePlan
from serving.keys import add_key
from stack.backstage import Runs, Voter, until
from stack.processes import Stack
from stack.up import deploy, pipeline_version
from stores.registry import Registry
from tasks.approve import enroll, submit
from tasks.operate import act, add_operator
from tasks.runs import state
from tasks.trace import current_plan, overview
from tests.tasks.school import School, orders

PEOPLE = {"ada": "data_science_lead", "ben": "privacy_officer", "cleo": "dev_ops"}
SECONDS = 240.0


def main(model: str, folder: Path) -> None:
    (folder / "mlflow").mkdir(parents=True)
    url = f"sqlite:///{folder}/mlflow/mlflow.db"
    Registry.open(url)
    school = School(folder, url, model=model)
    school.take_in(orders(), "all")
    with Stack(school.settings) as stack:
        stack.start("prefect")
        stack.start("worker")
        deploy(stack.settings, pipeline_version(stack.settings))
        run = Runs(stack.settings).complete("lifecycle/lifecycle", {"model": model, "reason": "the eighth"}, SECONDS)
        said = state(stack.settings, run)[1]
        assert "people are asked" in said, said
        plan = released(stack.settings, school, model)
        school.step_to_the_end()
        key = add_key(stack.settings, "shop", {"predict", "feedback"}, {model})
        stack.start("serve")
        told = {"gates": standing(stack.settings, school)["candidates"][0]["gates"], "plan": shown(plan)}
        told |= answered(stack, key, model)
    school.close()
    print(json.dumps(told))


def answered(stack: Stack, key: str, model: str) -> dict[str, Any]:
    """An answer of the champion with its feedback, a monitor run over it, and an answer after the switch to rules."""

    def by(arm: str) -> dict[str, Any] | None:
        reply = asked(stack, key, model, "predict", {"customer": "17000"})
        return reply if reply["arm"] == arm else None

    live = until(lambda: by("champion"), "the champion, which is loaded first", SECONDS)
    told = asked(stack, key, model, "feedback", {"prediction_id": live["prediction_id"], "outcome": {"aisles": ["20"]}})
    run = Runs(stack.settings).start("monitor/monitor", {"model": model, "report": False})
    watched = Runs(stack.settings).finish(run, SECONDS)[0]
    act(stack.settings, "fallback", model, "olga", "a drill")
    rules = until(lambda: by("rules"), "the rules", SECONDS)
    return {"live": live, "feedback": told, "watched": watched, "rules": rules}


def asked(stack: Stack, key: str, model: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the service replies."""
    address, headers = f"{stack.service_url}/{model}/{verb}", {"authorization": f"Bearer {key}"}
    reply = httpx.post(address, json=body, headers=headers, timeout=30)
    reply.raise_for_status()
    return dict(reply.json())


def standing(settings: Settings, school: School) -> dict[str, Any]:
    """What `grownet models` says of the model."""
    return next(found for found in overview(settings, school.config) if found["model"] == school.model)


def released(settings: Settings, school: School, model: str) -> ReleasePlan:
    """The plan after three people said yes to the ballot that the release flow opened."""
    add_operator(settings, "olga")
    until(lambda: standing(settings, school)["ballot"], f"a ballot about {model}", SECONDS)
    for name, role in PEOPLE.items():
        facts = enroll(settings, school.config, name=name, role=role, email=f"{name}@example.org", actor="olga")
        voter = Voter(name, role, str(facts["secret"]))
        submit(settings, model, name, "yes", "looked at", voter.code(), wait_seconds=SECONDS)

    def there() -> ReleasePlan | None:
        plan = current_plan(settings, model)[0]
        return plan if plan.canary is not None else None

    return until(there, f"a canary of {model}", SECONDS)


def shown(plan: ReleasePlan) -> dict[str, Any]:
    assert plan.canary is not None
    return {"canary": plan.canary.name, "champion": plan.champion.name, "revision": plan.revision}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
