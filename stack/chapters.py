"""The chapters of the demo: what a team does with grownet in its first month, and what goes wrong on purpose.

Each one uses the running stack as people and programs outside would, and says what came of it.
Called by `stack.demo`, in the order of `play`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd

from configs.load import HERE, overlay
from configs.schema import Config, Settings
from errors import StackError, VoteRefused
from records import ReleasePlan
from stack import planted, replay, season
from stack.backstage import Chapters, Runs, Telling, Voter, until
from stack.processes import Stack
from stack.replay import Traffic
from stack.report import Story

ORDERS = Path(__file__).resolve().parent.parent / "data" / "online_retail" / "online_retail.parquet"
MODEL = "recommendation"
DATASET = "online_retail"
LAST_BATCH = "2011-08"  # what training may know; the replay begins after it
NEXT_BATCH = "2011-09"
OPERATOR = "olga"
VOTERS = {"ada": "data_science_lead", "ben": "privacy_officer", "cleo": "dev_ops"}
PACE = 90.0  # requests a second while a rollout is watched
IDLE_PACE = 5.0  # while people vote and models are trained: the service is never without traffic
SERVICE = {
    "feedback_per_minute": 60_000,
    "feedback_per_subject": 60_000,
    "features_per_second": 1000,
}  # weeks in minutes
ROLLOUT = {  # the house's steps take hours, the demo's seconds; margins and false-alarm rate are the house's own
    "steps": [
        {"percent": 0, "min_seconds": 2, "min_answers": 200},
        {"percent": 5, "min_seconds": 2, "min_answers": 300},
        {"percent": 25, "min_seconds": 2, "min_answers": 400},
        {"percent": 50, "min_seconds": 2, "min_answers": 500},
        {"percent": 100, "min_seconds": 0, "min_answers": 0},
    ],
    "min_requests": 30,
}
PLANTED = {
    "params": {"neighbours": 1, "ridge": 1e7},
    "gates": {"champion_margin": -1.0, "baseline_margin": -1.0, "backtest_min_wins": 0},
}


@dataclass
class Demo:
    """The cast and the stage of one run."""

    settings: Settings
    config: Config
    stack: Stack
    story: Story
    chapters: Chapters
    runs: Runs
    traffic: Traffic
    voters: dict[str, Voter] = field(default_factory=dict)
    key: str = ""

    def plan(self) -> ReleasePlan:
        from tasks.trace import current_plan

        return current_plan(self.settings, MODEL)[0]

    def standing(self) -> dict[str, Any]:
        from tasks.trace import overview

        return next(item for item in overview(self.settings, self.config) if item["model"] == MODEL)

    def page(self, pattern: str) -> str:
        """The newest page below home/pages that fits."""
        found = sorted((self.settings.home / "pages").glob(pattern), key=lambda path: path.stat().st_mtime)
        if not found:
            raise StackError(f"page {pattern}", expected="a page", got="none", do="look into the logs of the flow runs")
        return str(found[-1])


def play(demo: Demo) -> None:
    """All chapters, in order."""
    people_and_keys(demo)
    data(demo)
    first = lifecycle(demo, "first release")
    ballot(demo, "promote", first["name"], wrong_code=True)
    rollout(demo, first["name"])
    worse_candidate(demo)
    corrupt_artifact(demo)
    rules_and_back(demo)
    one_answer_back_to_the_rows(demo)
    demo.traffic.pace = season.SEASON_PACE  # from here on weeks go by
    corrupt_batch(demo)
    season.season(demo, pd.read_parquet(ORDERS))
    season.drift_alone(demo)
    with second_autumn(demo):
        season.planted_drift(demo)
        season.drift_with_drop(demo)


def people_and_keys(demo: Demo) -> None:
    """The demo's own reviewers and operator, an API key, and a little traffic from the start."""
    from serving.keys import add_key
    from tasks.approve import enroll
    from tasks.operate import add_operator

    with demo.chapters.chapter("Enrol reviewers and an operator, make an API key") as telling:
        add_operator(demo.settings, OPERATOR)
        for name, role in VOTERS.items():
            facts = enroll(
                demo.settings, demo.config, name=name, role=role, email=f"{name}@example.org", actor=OPERATOR
            )
            demo.voters[name] = Voter(name, role, facts["secret"])
        demo.key = add_key(demo.settings, "replay", {"predict", "feedback", "replay", "read"}, {MODEL})
        demo.traffic.key, demo.traffic.pace = demo.key, IDLE_PACE
        demo.traffic.start()
        telling.say("enrolled by the demo itself: " + ", ".join(f"{name} ({role})" for name, role in VOTERS.items()))
        telling.say("real orders from 2011-09-01 on are replayed as traffic; until a release the rules answer")


def data(demo: Demo) -> None:
    from tasks.ingest import newest_snapshot

    with demo.chapters.chapter(f"Take the months to {LAST_BATCH} in: minimise, mask, check, append") as telling:
        demo.runs.complete("ingest/ingest", {"dataset": DATASET, "until": LAST_BATCH}, seconds=180)
        new = newest_snapshot(demo.settings, demo.config.datasets[DATASET].table)
        telling.say(
            f"{new.version.name}: {new.rows:,} rows in {len(new.batches)} batches, Delta version {new.delta_version}"
        )
        demo.story.reports[f"data quality, {new.batches[-1]}"] = demo.page(f"data/*/{new.batches[-1]}*.html")


@contextmanager
def second_autumn(demo: Demo) -> Iterator[None]:
    """While it lasts, the source has the planted autumn after the real one, and the traffic goes on into both."""
    export = planted.export(ORDERS, demo.settings.home / season.EXPORT)
    demo.traffic.then(planted.thinned(replay.orders(export, season.PAUSE)))
    _configure(demo, export=export)
    yield
    _configure(demo)


def corrupt_batch(demo: Demo) -> None:
    """September arrives with prices in pence and most customer numbers lost; the door refuses it whole, the guard freezes."""
    from tasks.ingest import newest_snapshot

    table = demo.config.datasets[DATASET].table
    with demo.chapters.chapter("A corrupt batch comes to the door") as telling:
        before = newest_snapshot(demo.settings, table)
        _configure(demo, export=_broken_export(demo))
        try:
            run = demo.runs.start("ingest/ingest", {"dataset": DATASET, "batch": NEXT_BATCH})
            kind, message = demo.runs.finish(run, 120)
        finally:
            _configure(demo)
        if kind == "COMPLETED" or newest_snapshot(demo.settings, table) != before:
            raise StackError("corrupt batch", expected="refused, nothing taken in", got=f"{kind}: {message}")
        telling.say(f"refused: {message[:300]}")
        plan = until(lambda: found if (found := demo.plan()).frozen else None, "the guard's freeze", 20)
        telling.say(f"{before.version.name} is untouched; revision {plan.revision}: {plan.reason[:160]}")
        demo.story.refused.append({"what": f"batch {NEXT_BATCH} with a broken export", "reason": message})


def lifecycle(demo: Demo, reason: str) -> dict[str, Any]:
    """Features, training and gates through the deployment; the candidate's facts."""
    with demo.chapters.chapter(f"Feature, train, validate: {reason}") as telling:
        demo.runs.complete("lifecycle/lifecycle", {"model": MODEL, "reason": reason}, seconds=300)
        candidate: dict[str, Any] = demo.standing()["candidates"][-1]
        outcomes = ", ".join(f"{name} {outcome}" for name, outcome in candidate["gates"].items())
        telling.say(f"{candidate['name']} on {candidate['data']}: {outcomes}")
        if candidate["discarded"]:
            raise StackError("lifecycle", expected="a candidate that passes its gates", got=candidate["discarded"])
        demo.story.reports[f"evidence, {candidate['name']}"] = demo.page(f"models/{candidate['id']}*.html")
    return candidate


def ballot(demo: Demo, verb: str, what: str, *, wrong_code: bool = False) -> None:
    """Every role that must vote does, through the API behind the form of the Prefect UI."""
    needed = demo.config.defaults.approval.roles[verb]  # type: ignore[index]
    voters = [voter for voter in demo.voters.values() if voter.role in needed]
    before = demo.plan().revision
    with demo.chapters.chapter(f"Ballot: {verb} {what}", total=len(voters)) as telling:
        until(lambda: demo.standing()["ballot"], f"ballot to {verb}", 90)
        if wrong_code:
            telling.say(f"{voters[0].name} mistypes the code: {_mistyped(demo, voters[0])}")
        for number, voter in enumerate(voters, 1):
            telling.progress(number - 1, f"{voter.name} votes")
            said = _submit(demo, voter, voter.code(), f"read the evidence of {what}")
            telling.say(f"{voter.name} ({voter.role}): {said}")
        plan = until(lambda: found if (found := demo.plan()).revision > before else None, f"ballot to {verb}", 90)
        telling.say(f"revision {plan.revision} is signed")


def _submit(demo: Demo, voter: Voter, code: str, reason: str) -> str:
    from tasks.approve import submit

    return submit(demo.settings, MODEL, voter.name, "yes", reason, code, wait_seconds=90).said


def _mistyped(demo: Demo, voter: Voter) -> str:
    """What is said of a vote with a wrong code; it must not count."""
    try:
        said = _submit(demo, voter, voter.wrong_code(), "a wrong code")
    except VoteRefused as refused:
        return str(refused)
    raise StackError("vote with a wrong code", expected="no vote", got=said)


def rollout(demo: Demo, name: str) -> None:
    """Shadow, 5, 25, 50, 100 %: the guard advances on what the replayed orders say."""
    with demo.chapters.chapter(f"Shadow, canary, 100 %: {name}", total=5) as telling:
        demo.traffic.pace = PACE
        plan = _watch(demo, telling, lambda plan: plan.canary is None, seconds=180)
        demo.traffic.pace = IDLE_PACE
        if plan.champion.name != name:
            raise StackError("rollout", expected=f"{name} as champion", got=f"{plan.champion.name}: {plan.reason}")
        telling.say(
            f"{name} answers; {plan.control_percent:g} % stay with {plan.control.name if plan.control else 'nobody'}"
        )
        telling.say(_last_verdict(demo))


def worse_candidate(demo: Demo) -> None:
    """A candidate that keeps one neighbour per product. Its gates are loosened for this chapter, or it would not get this far."""
    _configure(demo, planted=PLANTED)
    try:
        candidate = lifecycle(demo, "a planted fault: one neighbour per product, gates loosened")
    finally:
        _configure(demo)
    champion = demo.plan().champion.name
    ballot(demo, "promote", candidate["name"])
    with demo.chapters.chapter("The guard takes the worse candidate back", total=5) as telling:
        demo.traffic.pace = PACE
        plan = _watch(demo, telling, lambda plan: plan.canary is None, seconds=180)
        demo.traffic.pace = IDLE_PACE
        if plan.champion.name != champion:
            raise StackError("worse candidate", expected=f"{champion} still answering", got=plan.champion.name)
        telling.say(_last_verdict(demo))
        telling.say(f"{champion} answers as before; the failed hash is rejected for good")


def corrupt_artifact(demo: Demo) -> None:
    """One byte of the champion's stored bytes changes; a replica that starts now must not load it."""
    with demo.chapters.chapter("One byte of the stored artifact changes") as telling:
        artifact = demo.plan().champion.artifact
        assert artifact is not None
        stored = next(Path(demo.settings.artifacts_uri).rglob(f"{artifact.content}.*"))
        whole = stored.read_bytes()
        stored.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
        try:
            candidate = next(c for c in demo.standing()["candidates"] if c["name"] == demo.plan().champion.name)
            verdict = _checked(demo, candidate["id"])
        finally:
            stored.write_bytes(whole)
        if verdict["ok"]:
            raise StackError("corrupt artifact", expected="refused", got="loaded")
        telling.say(f"refused: {verdict['reason']}")
        telling.say("the running service goes on with what it admitted; the byte is put back")
        demo.story.refused.append(
            {"what": "the champion's artifact with one byte changed", "reason": verdict["reason"]}
        )


def rules_and_back(demo: Demo) -> None:
    """The operator switches to rules with one command; coming back takes a vote."""
    from tasks.approve import request
    from tasks.operate import act

    with demo.chapters.chapter("An operator switches to the rules") as telling:
        plan, words = act(demo.settings, "fallback", MODEL, OPERATOR, "supplier reports a wrong price list")
        until(lambda: _live(demo)["arm"] == "rules" or None, "the service in rules mode", 10)
        telling.say(f"revision {plan.revision}; the replies say arm=rules")
        telling.say(words)
    request(demo.settings, MODEL, "restore", "", "price list corrected")
    ballot(demo, "restore", plan.champion.name)
    with demo.chapters.chapter("The model answers again") as telling:
        until(lambda: _live(demo)["arm"] != "rules" or None, "the service with the model", 10)
        telling.say(f"{demo.plan().champion.name} answers again, by vote")


def one_answer_back_to_the_rows(demo: Demo) -> None:
    from tasks.trace import trace

    with demo.chapters.chapter("From one answer back to rows, commit and voters") as telling:
        identity = next(item.prediction_id for item in reversed(demo.traffic.sent) if item.version > 0)
        facts = json.loads(msgspec.json.encode(trace(demo.settings, demo.config, identity)))
        demo.story.trace = {
            "prediction id": identity,
            **{key: value for key, value in facts.items() if key != "answer"},
        }
        voters = ", ".join(f"{vote['reviewer']} ({vote['role']})" for vote in facts["votes"])
        rows = ", ".join(f"{item['version']['name']}: {item['rows']:,} rows" for item in facts["data"])
        telling.say(f"{identity}")
        telling.say(f"{facts['served_by']} in revision {facts['release']['revision']}, by leave of {voters}")
        telling.say(f"commit {facts['commit'][:12]}, {rows}, MLflow run {facts['mlflow_run']}")


# ---- small parts ---------------------------------------------------------------------------------


def _watch(demo: Demo, telling: Telling, over: Any, seconds: float) -> ReleasePlan:
    """Shows the steps of a rollout until it is over; says each one."""
    seen: set[int] = set()

    def look() -> ReleasePlan | None:
        plan = demo.plan()
        if plan.revision not in seen:
            seen.add(plan.revision)
            telling.say(f"revision {plan.revision}: {plan.reason}")
        telling.progress(
            plan.step + 1 if plan.canary else 5, f"{plan.canary_percent:g} %, {len(demo.traffic.sent):,} answers"
        )
        return plan if over(plan) else None

    return until(look, "rollout", seconds, every=0.5)


def _last_verdict(demo: Demo) -> str:
    acted = [verdict for verdict in demo.standing()["verdicts"] if verdict.action != "none"]
    if not acted:
        return "the guard has not acted"
    last = acted[-1]
    effect = f"{last.effect:+.1%} ({last.low:+.1%} .. {last.high:+.1%})" if last.effect is not None else "no effect yet"
    return f"guard: {last.action}, {last.kpi}, effect on the hit rate {effect} after {last.matured:,} pairs"


def _live(demo: Demo) -> dict[str, Any]:
    """One request as any client would send it."""
    reply = httpx.post(
        f"{demo.stack.service_url}/{MODEL}/predict",
        json={"customer": "17850", "recent": [], "k": 10},
        headers={"authorization": f"Bearer {demo.key}"},
        timeout=10,
    )
    reply.raise_for_status()
    answer: dict[str, Any] = reply.json()
    return answer


def _checked(demo: Demo, candidate: str) -> dict[str, Any]:
    """`grownet serve --check`: a new process of the real service that loads the candidate as production would."""
    from stack.programs import environment

    out = subprocess.run(
        [sys.executable, "-m", "grownet", "serve", "--check", candidate],
        capture_output=True, text=True, timeout=120, check=False, env=environment(demo.settings, {}),
    )  # fmt: skip
    verdict: dict[str, Any] = json.loads(out.stdout)
    return verdict


def _configure(demo: Demo, planted: dict[str, Any] | None = None, export: Path | None = None) -> None:
    """Writes the demo's configuration: the house's own with quick steps, and whatever goes wrong on purpose."""
    changes: dict[str, dict[str, Any]] = {
        f"{MODEL}.yaml": {"rollout": ROLLOUT, **(planted or {})},
        "defaults.yaml": {"service": SERVICE},
    }
    if export:
        changes[f"datasets/{DATASET}.yaml"] = {"source": {"uri": str(export)}}
    overlay(HERE, demo.settings.configs, changes)


def _broken_export(demo: Demo) -> Path:
    """The bundled orders, with September's prices in pence and most of its customer numbers lost."""
    frame = pd.read_parquet(ORDERS)
    september = frame["invoice_date"].dt.strftime("%Y-%m") == NEXT_BATCH
    frame.loc[september, "unit_price"] *= 100
    frame.loc[september & (frame.index % 10 > 1), "customer_id"] = pd.NA
    path = demo.settings.home / "broken_export.parquet"
    frame.to_parquet(path, index=False)
    return path
