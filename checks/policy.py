"""The decision table, evaluated: from what was found to one Ruling. The guard alone does what it says.

Pure. `evaluate` reads a row off the table of configs/decisions.yaml; `rule` answers its three questions from `Facts`, leaves
out what can have no effect, and says why. The same facts and table give the same ruling: `grownet replay` relies on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from msgspec import convert, json

from checks.facts import Facts, Judged, subject_of
from checks.plans import DRIFT
from configs.schema import Action, Corruption, DecisionTable, Row
from records import Answered, Fell, Finding, Role, Ruling, digest_of

RuledLevel = Literal["ok", "warning", "critical", "emergency", "inconclusive"]

QUARTER = timedelta(days=91)
ASKS: tuple[Action, ...] = ("retrain", "incident")
FALLEN: tuple[Fell, ...] = ("yes", "both")
SAID: dict[str, set[Answered]] = {"ok": {"no"}, "inconclusive": {"yes", "undecided"}}  # else what was answered yes
CHANGES: tuple[Action, ...] = ("take_back", "rollback", "fallback", "freeze", "unfreeze")  # of the plan, in this order


@dataclass(frozen=True)
class Outcome:
    """A row of the table as it applies to one role."""

    row: Row
    role: Role

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def level(self) -> RuledLevel:
        return self.row.level

    @property
    def actions(self) -> tuple[Action, ...]:
        return self.row.does[self.role]

    @property
    def asked(self) -> str:
        return self.row.asks


def evaluate(table: DecisionTable, role: Role, corruption: Corruption, drift: Answered, kpi: Fell) -> Outcome:
    """The first row of the table that applies, as it reads for this role; the last row takes everything."""
    return Outcome(next(row for row in table.rows if row.when.match(corruption, drift, kpi)), role)


def rule(facts: Facts, table: DecisionTable) -> Ruling:
    """The ruling on one arm. Its `actions` are those that have an effect now; its `inputs` are the facts and the table."""
    corruption, drift, kpi = corruption_of(facts), answer_of(facts, "drift"), kpi_of(facts)
    outcome = evaluate(table, facts.role, corruption, drift, kpi)
    actions, notes = _effective(facts, outcome)
    inputs = {**plain(facts), "table": table.model_dump(mode="json")}
    key = [facts.model, facts.role, facts.version, outcome.name, digest_of(inputs)]
    return Ruling(
        id=f"ruling-{digest_of(key)[:24]}",
        model=facts.model,
        role=facts.role,
        revision=facts.revision,
        version=facts.version,
        corruption=corruption,
        drift=drift,
        kpi=kpi,
        row=outcome.name,
        table=table.digest,
        level=outcome.level,
        actions=actions,
        asked=outcome.asked,
        reason="; ".join([*_because(facts, outcome, kpi), *notes]),
        inputs=inputs,
        at=facts.at,
    )


def derived_again(ruling: Ruling) -> Ruling:
    """The ruling that follows from the inputs stored in one.

    Raises:
        msgspec.ValidationError, pydantic.ValidationError: when these are no facts, or no table.
    """
    inputs = dict(ruling.inputs)
    table = DecisionTable.model_validate(inputs.pop("table", None))
    return rule(convert(inputs, Facts), table)


def facts_of(ruling: Ruling) -> Facts:
    """The facts a ruling was made from."""
    return convert({name: value for name, value in ruling.inputs.items() if name != "table"}, Facts)


def row_of(ruling: Ruling) -> Row:
    """The row of the table a ruling was read from."""
    table = DecisionTable.model_validate(ruling.inputs["table"])
    return next(row for row in table.rows if row.name == ruling.row)


def is_over(ruling: Ruling, name: str) -> bool:
    """Whether an ok ruling ends the state that the row of this name stood for; a drop ends only when the KPI says so."""
    if ruling.level != "ok" or not name:
        return False
    before = next((row for row in DecisionTable.model_validate(ruling.inputs["table"]).rows if row.name == name), None)
    if before is None:  # of an earlier table
        return True
    of_a_drop = before.when.kpi != "any" and set(before.when.kpi) <= set(FALLEN)
    return before.level != "ok" and (ruling.kpi == "no" or not of_a_drop)


def plain(facts: Facts) -> dict[str, Any]:
    """Exactly as it will be read back from the ledger."""
    return dict(json.decode(json.encode(facts)))


# ---- the three inputs ----------------------------------------------------------------------------


def corruption_of(facts: Facts) -> Corruption:
    """Where something is corrupt; what came in outranks what was refused at the door."""
    found = finding_of(facts, "corruption")
    if found is not None and found.answer == "yes":
        return cast(Corruption, found.where or "stream")
    if any(one.kind == "batch" and one.answer == "yes" for one in facts.findings):  # of any table
        return "batch"
    return "no" if found is not None and found.answer == "no" else "undecided"


def answer_of(facts: Facts, kind: str) -> Answered:
    """What the newest unexpired finding of a kind says; undecided without one."""
    found = finding_of(facts, kind)
    return "undecided" if found is None else found.answer


def kpi_of(facts: Facts) -> Fell:
    """yes: the control beats it, by the monitor's finding or by the judge. both: no such thing, and both fell."""
    beside = answer_of(facts, "kpi")
    if beside == "yes" or dropped(facts.judged):
        return "yes"
    return "both" if answer_of(facts, "level") == "yes" else beside


def dropped(judged: Judged | None) -> bool:
    return judged is not None and judged.state == "kpi_drop"


def finding_of(facts: Facts, kind: str) -> Finding | None:
    return next((one for one in facts.findings if one.kind == kind), None)


# ---- what of the row has an effect ---------------------------------------------------------------


def _effective(facts: Facts, outcome: Outcome) -> tuple[tuple[Action, ...], list[str]]:
    """The row's actions that change something now, in the order they are done, and what is to be said of the others."""
    wanted, notes = list(outcome.actions), []
    if "rollback" in wanted and not facts.standing.previous:  # the first model, or what it was rolled back to fell too
        wanted[wanted.index("rollback")] = "fallback"
        notes.append("there is no previous version, so the rules take over")
    if "retrain" in wanted and (why_not := retrain_refused(facts)):
        wanted.remove("retrain")
        notes.append(f"no retraining is asked for: {why_not}")
    if "freeze" in wanted and _people_know(facts, outcome.row):
        wanted.remove("freeze")
        notes.append(f"people lifted a freeze knowing of this {outcome.row.freezes_for}, so it does not come back")
    if "unfreeze" in wanted and (wait := _still_frozen(facts)) is not None:
        wanted.remove("unfreeze")
        notes += [wait] if wait else []
    changes = [action for action in CHANGES if action in wanted and _changes(facts, action, outcome.row)]
    news = bool(set(changes) - {"freeze"}) or outcome.name != facts.before
    return (*changes, *(action for action in ASKS if action in wanted and news)), notes


def _changes(facts: Facts, action: Action, row: Row) -> bool:
    """Whether an action would make another plan of this one."""
    stands = facts.standing
    if action == "take_back":
        return bool(stands.canary)
    if action == "fallback":
        return stands.mode == "model" or bool(stands.canary)
    if action == "freeze":
        return not stands.frozen or (stands.frozen_for == DRIFT and row.freezes_for != DRIFT)
    return True


def _people_know(facts: Facts, row: Row) -> bool:
    """Whether people lifted a freeze while what this row freezes for went on already, and no drop came since."""
    fell = kpi_of(facts) in FALLEN and "kpi" not in facts.known
    return row.freezes_for in facts.known and not fell and _changes(facts, "freeze", row)


def _still_frozen(facts: Facts) -> str | None:
    """Why a drift freeze is not lifted yet; empty when there is none, None when it may be lifted."""
    stands, have, need = facts.standing, len(facts.clean), facts.limits.clean_windows
    if not stands.frozen or stands.frozen_for != DRIFT:
        return ""
    if have < need:
        return f"the freeze is lifted after {need} clean windows, {have} so far"
    if stands.voting:
        return "the freeze stays while a ballot is open, which lifting it would void"
    return None


def retrain_refused(facts: Facts) -> str:
    """Why no retraining is asked for, or an empty text: the last one was too short ago, or the quarter had enough."""
    past, limits = [at for at in facts.requested if at <= facts.at], facts.limits
    cool = timedelta(hours=limits.cool_down_hours)
    if past and facts.at - max(past) < cool:
        until = max(past) + cool
        return f"the last was at {max(past):%Y-%m-%d %H:%M} UTC, the cool-down lasts until {until:%Y-%m-%d %H:%M}"
    recent = [at for at in past if facts.at - at < QUARTER]
    if len(recent) >= limits.max_per_quarter:
        return (
            f"{len(recent)} in the last {QUARTER.days} days, {limits.max_per_quarter} are allowed; people may order one"
        )
    return ""


# ---- in words --------------------------------------------------------------------------------------


def _because(facts: Facts, outcome: Outcome, kpi: Fell) -> list[str]:
    """What decided; of an inconclusive ruling, what is missing."""
    telling = SAID.get(outcome.level, {"yes"})
    judged = facts.judged.reason if facts.judged is not None and dropped(facts.judged) else ""
    said = [f"KPI: {judged}"] if judged and "yes" in telling else []
    for one in facts.findings:
        if one.answer in telling and not (said and one.kind == "kpi"):
            said.append(f"{_named(one)}: {one.reason}")
    if outcome.level == "inconclusive":
        said += [f"{kind}: no finding counts now" for kind in _absent(facts, kpi)]
    return said or [outcome.row.title]


def _absent(facts: Facts, kpi: Fell) -> Iterable[str]:
    have = {one.kind for one in facts.findings}
    return [
        kind for kind in ("corruption", "drift", "kpi") if kind not in have and not (kind == "kpi" and kpi in FALLEN)
    ]


def _named(one: Finding) -> str:
    return {"kpi": "KPI", "level": "KPI of both", "batch": "batch refused"}.get(one.kind, one.kind)


def taken_back(rulings: Iterable[Ruling]) -> dict[tuple[str, int], datetime]:
    """The windows on which a model was taken back, or kept back, by earlier rulings: what `facts.about` calls handled."""
    ends: dict[tuple[str, int], datetime] = {}
    for ruling in rulings:
        if ruling.role != "rules" and not {"rollback", "fallback", "take_back"} & set(ruling.actions):
            continue
        for one in facts_of(ruling).findings:
            if one.answer == "yes":
                ends[subject_of(one)] = max(ends.get(subject_of(one), one.window_end), one.window_end)
    return ends
