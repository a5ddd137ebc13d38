"""What goes wrong in a drill, one function a fault, and the limits each is held to.

A fault starts its traffic, brings the house where the fault will find it, says `stage.begins()` in the moment it does its
harm, and waits until the house has put it right. Each leaves the processes alive; `benchmarks.drill.play` brings the plan back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.drill.asking import DRIFTED, FALLEN, GOOD, STEADY, SURGE, WORSE
from benchmarks.drill.house import ALONE, LEADER, MAX_AGE_SECONDS, READY_SECONDS, REPLICAS, STAND_BY, WATCHED
from benchmarks.drill.measures import Limit
from benchmarks.drill.rounds import Rounds, clear
from benchmarks.drill.stage import MOST_SECONDS, Stage
from benchmarks.reliability import faulty
from benchmarks.reliability.fleet import until
from benchmarks.reliability.village import MODEL
from checks import plans as moves
from errors import StackError
from records import RULES, Arm
from stores.ledger import findings, rulings
from tasks.operate import act, add_operator

SLOW_SECONDS = 1.0  # a call of the slow candidate; the deadline is half of it
AWAY_SECONDS = 5.0  # that MLflow is
FELT_SECONDS = 1.0  # after a plan became too old its canary answers nobody
LOST_SECONDS = 1.0  # after a worker was killed a request that is due meets no dead connection any more
PHASES = 4  # where in a run of the monitor a surge begins is another place in each repeat
OPERATOR = "olga"
ERRORS_SECONDS, SURGE_SECONDS, LEADER_SECONDS = 30.0, 60.0, 15.0
SAMPLES = 1.5


class Fault(NamedTuple):
    """How a fault is played, what it may cost, the kind of incident that answers it, and whether it needs Prefect and MLflow."""

    play: Callable[[Stage], None]
    limit: Limit
    incident: str = ""
    flows: bool = False


def lower_ctr(stage: Stage) -> None:
    """A candidate that customers buy from less often: 40 % where the champion has 50 %."""
    arm = stage.house.rival()
    stage.bad = lambda one: one.reply.arm == "canary"
    stage.prints(ALONE, WORSE)
    stage.send(GOOD)
    stage.begins()
    stage.canary(arm, follow=False)
    stage.taken_back()


def errors(stage: Stage) -> None:
    """A canary whose every call begins to raise."""
    _misbehaves(stage, faulty.Fault(files=stage.house.worse_files, raises=True), "error")


def slow(stage: Stage) -> None:
    """A canary whose every call begins to take a second, twice the deadline."""
    _misbehaves(stage, faulty.Fault(files=stage.house.worse_files, sleep_seconds=SLOW_SECONDS), "deadline")


def corrupt_artifact(stage: Stage) -> None:
    """A candidate whose stored bytes changed after the vote."""
    arm = stage.house.corrupt()
    stage.bad = lambda one: one.reply.override == "not_loaded"
    stage.send(STEADY)
    stage.begins()
    stage.canary(arm, follow=False)
    stage.taken_back()


def null_surge(stage: Stage) -> None:
    """Every request comes from a customer nobody knows: what is known of customers is missing all at once."""
    stage.bad = lambda one: one.stream == SURGE and one.reply.arm != "rules"
    stage.send(STEADY, SURGE)
    with Rounds(stage.running.stack.settings) as rounds:
        until(rounds.first, "a run of the monitor on good traffic", MOST_SECONDS)
        _refuse_corrupt(stage)
        clear(stage.running.stack.settings)
        time.sleep((rounds.done[-1].ended - rounds.done[-1].started) * (stage.number % PHASES) / PHASES)
        stage.begins()
        stage.swap(STEADY, SURGE)
        plan = stage.taken_back()
        stage.swap(SURGE, STEADY)
    stage.notes |= rounds.facts()
    stage.require("the rules answer", plan.mode == "rules", plan.mode)


def drift_and_drop(stage: Stage) -> None:
    """Requests become of another kind, the monitor says so; after all the equal outcomes until then the new champion falls to
    40 % where its control has 50 %."""
    arm = stage.house.rival()
    stage.bad = lambda one: one.stream == FALLEN and one.reply.version == arm.number
    stage.prints(WATCHED, WORSE)
    stage.send(STEADY, DRIFTED, FALLEN)
    _promoted(stage, arm)
    clear(stage.running.stack.settings)
    stage.swap(STEADY, DRIFTED)
    began = time.time()
    stage.rest()
    with Rounds(stage.running.stack.settings) as rounds:
        until(lambda: _drifted(stage, arm), "drift of what is sent, found and frozen for", MOST_SECONDS)
        stage.notes["drift_frozen_seconds"] = round(time.time() - began, 1)
        rounds.enough()
        stage.notes["equal_before"] = stage.count_from_here()
        stage.begins()
        stage.swap(DRIFTED, FALLEN)
        plan = stage.taken_back()
        stage.swap(FALLEN, STEADY)
    since = datetime.fromtimestamp(stage.began, UTC)
    rows = [one.row for one in rulings.rulings(stage.house.ledgers["reader"], MODEL, since)]
    stage.notes |= {**rounds.facts(), "rows": rows}
    stage.require("the table's row for both decided", rows[:1] == ["drift_and_drop"], rows)
    stage.require("version 1 answers", plan.champion.number == 1 and plan.mode == "model", plan.champion.name)


def dead_ledger(stage: Stage) -> None:
    """The ledger is moved away while a canary runs, until its plan is too old, and comes back."""
    stage.bad = lambda one: one.reply.override == "stale"
    stage.send(STEADY)
    stage.canary(stage.house.rival())
    there, away = stage.house.folder / "ledger.db", stage.house.folder / "away.db"
    stage.begins()
    there.rename(away)
    try:
        until(lambda: _says(stage, "ledger"), "a replica that says so", MAX_AGE_SECONDS)
        stage.detected = time.time()
        time.sleep(max(0.0, stage.began + MAX_AGE_SECONDS + 2 * FELT_SECONDS - time.time()))
    finally:
        away.rename(there)
    back = time.time()
    aged = stage.began + MAX_AGE_SECONDS + FELT_SECONDS
    stage.never = lambda one: one.reply.arm == "canary" and aged < one.at < back
    until(lambda: not _says(stage, "ledger"), "a replica that sees the ledger again", READY_SECONDS)
    until(lambda: stage.house.serves(stage.house.plan(), back), "replicas that report again", READY_SECONDS)
    stage.restored = time.time()
    stage.notes |= {"away_seconds": round(back - stage.began, 1), "felt_after_seconds": round(stage.restored - back, 1)}


def dead_mlflow(stage: Stage) -> None:
    """MLflow is killed. Nothing that answers asks it, so there is nothing to switch."""
    stage.send(STEADY)
    stage.begins()
    stage.running.kill("mlflow")
    time.sleep(AWAY_SECONDS)
    ready = stage.readyz()
    stage.require("every replica is ready without it", bool(ready.get("ready")), ready)
    stage.require("MLflow was away all the time", "mlflow" in stage.running.stack.dead())
    stage.restored = stage.began  # nothing was bad


def dead_prefect(stage: Stage) -> None:
    """Prefect is killed; an operator falls back, people restore, and a canary that raises is taken back meanwhile."""
    house = stage.house
    add_operator(house.settings, OPERATOR)
    stage.send(STEADY)
    stage.running.kill("prefect")
    fallback, _ = act(house.settings, "fallback", MODEL, OPERATOR, "a drill")
    stage.switch_to(fallback)
    stage.switch_to(house.undo("restore"))
    _misbehaves(stage, faulty.Fault(files=house.worse_files, raises=True), "error", sending=False)
    stage.answering.insert(0, stage.answering.pop())  # the fault's own first
    stage.require("Prefect was away all the time", "prefect" in stage.running.stack.dead())


def killed_leader(stage: Stage) -> None:
    """The guard that leads is killed, and in the same moment the canary begins to raise."""
    stage.bad = lambda one: one.reply.override == "error"
    stage.send(STEADY)
    before = stage.canary(stage.house.rival())
    stage.spared = lambda one: one.reply.override == "tripped" and one.reply.revision == before.revision
    leader = stage.running.leader()
    if not leader:
        raise StackError("the guard that leads", expected=f"{LEADER} or {STAND_BY}", got="none")
    stage.begins()
    stage.running.kill(leader)
    faulty.set_fault(stage.running.fault, faulty.Fault(files=stage.house.worse_files, raises=True))
    plan = stage.taken_back()
    since = [one.plan for one in stage.theatre.watcher.changes if one.plan.revision > before.revision]
    right = before.canary is not None and set(moves.contents(before.canary)) <= set(plan.rejected)
    stage.require("one plan was written, and it takes the canary back", since == [plan] and right, len(since))
    stage.require("version 1 answers as before", plan.champion == before.champion, plan.champion.name)
    leads = stage.running.leader()
    stage.require("another guard leads", leads not in {leader, ""}, leads)
    stage.notes |= {"killed": leader, "leads": leads}


def killed_worker(stage: Stage) -> None:
    """A worker of the service is killed; what it had under way is lost with it."""
    stage.send(STEADY)
    before = {one.pid for one in stage.running.workers}
    stage.begins()
    stage.running.workers[0].kill()
    until(lambda: len({one.pid for one in stage.running.workers} - before) == 1, "another worker", READY_SECONDS)
    stage.detected = time.time()  # a process tells when it began by the machine's start, in whole seconds
    stage.running.followed(stage.house.plan(), stage.began)
    stage.restored = time.time()
    stage.require("there are as many workers again", len(stage.running.workers) == REPLICAS)


FAULTS: dict[
    str, Fault
] = {  # in the order they are played: what a monitor found outlives its fault, so those come last
    "lower_ctr": Fault(lower_ctr, Limit(sample=SAMPLES), "kpi_drop"),
    "errors": Fault(errors, Limit(restored=ERRORS_SECONDS), "errors"),
    "slow": Fault(slow, Limit(restored=ERRORS_SECONDS), "late"),
    "corrupt_artifact": Fault(corrupt_artifact, Limit(restored=ERRORS_SECONDS), "refused_artifact"),
    "dead_ledger": Fault(dead_ledger, Limit(switches=False)),
    "dead_mlflow": Fault(dead_mlflow, Limit(switches=False), flows=True),
    "dead_prefect": Fault(dead_prefect, Limit(restored=ERRORS_SECONDS), "errors", flows=True),
    "killed_leader": Fault(killed_leader, Limit(switched=LEADER_SECONDS), "errors"),
    "killed_worker": Fault(killed_worker, Limit(lost_seconds=LOST_SECONDS, switches=False)),
    "drift_and_drop": Fault(drift_and_drop, Limit(sample=SAMPLES), "kpi_drop", flows=True),
    "null_surge": Fault(null_surge, Limit(restored=SURGE_SECONDS), "corruption", flows=True),
}


def _misbehaves(stage: Stage, fault: faulty.Fault, override: str, *, sending: bool = True) -> None:
    """A canary that is well, and then is not."""
    if sending:
        stage.send(STEADY)
    plan = stage.canary(stage.house.rival())
    stage.bad = lambda one: one.reply.override == override and one.reply.revision == plan.revision
    stage.spared = lambda one: one.reply.override == "tripped" and one.reply.revision == plan.revision
    stage.begins()
    faulty.set_fault(stage.running.fault, fault)
    after = stage.taken_back()
    stage.require("version 1 answers", after.champion == plan.champion and after.mode == "model", after.champion.name)


def _promoted(stage: Stage, arm: Arm) -> None:
    """The arm at 100 %, with version 1 as its control."""
    stage.house.rollout = WATCHED
    try:
        stage.canary(arm)
    finally:
        stage.house.rollout = ALONE
    since = time.time()
    plan = stage.house.guard(moves.advance)
    stage.running.followed(plan, since)
    stage.rest()
    stage.require("the new champion stands when the fault begins", stage.house.plan() == plan)


def _drifted(stage: Stage, arm: Arm) -> bool:
    """Whether the monitor found that the baskets are others, and the guard froze for it."""
    if stage.house.plan().frozen_for != moves.DRIFT:
        return False
    newest = findings.newest(stage.house.ledgers["reader"], MODEL)
    return any(
        one.kind == "drift" and one.version == arm.number and one.answer == "yes" and "basket" in one.reason
        for one in newest
    )


def _refuse_corrupt(stage: Stage) -> None:
    """Good traffic must not look corrupt: then a surge that is found would prove nothing."""
    newest = findings.newest(stage.house.ledgers["reader"], MODEL)
    found = next((one for one in newest if one.kind == "corruption"), None)
    if found is None or found.version == RULES or found.answer != "no":
        got = f"{found.answer}: {found.reason}" if found is not None else "no finding"
        raise StackError("corruption in good traffic", expected="no", got=got)


def _says(stage: Stage, what: str) -> bool:
    facts = stage.readyz()
    return any(what in reason for reason in facts.get("degraded", []))
