"""Derives what the guard concluded again, from the inputs stored with it: the same, or what differs. Behind `grownet replay`.

Reads the ledger; writes nothing. A ruling follows wholly from its stored facts and table. Of a judge's verdict only what rests
on the stored interval is derived; the counters behind the interval are sums that grew on, which is said.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from checks.judge import concluded_again
from checks.policy import derived_again, facts_of
from configs.schema import Config, Settings
from errors import NotFound
from records import Finding, GuardVerdict, Ruling
from stores.ledger import findings, rulings, verdicts
from stores.ledger.engine import Ledger
from tasks.operate import opened

WHOLE = (
    "everything: row, level, actions, reason and id, from the stored facts and table; the findings against the ledger's"
)
PART = (
    "the conclusion on the KPI, from the stored interval and margins; not the interval itself, whose counters grew on"
)
Differences = dict[str, dict[str, Any]]


def replay(settings: Settings, config: Config, identity: str) -> dict[str, Any]:
    """What was concluded and what follows from its inputs now; `same` is True when nothing differs.

    Raises:
        NotFound: for an id that is neither a ruling's nor a verdict's.
    """
    with opened(settings, "reader") as ledger:
        found = _found(ledger, identity)
        if isinstance(found, GuardVerdict):
            differs = {name: _pair(*pair) for name, pair in concluded_again(found).items()}
            return _facts(found, differs, PART) | {"kpi": found.kpi, "action": found.action}
        differs = _ruled_again(found) or _findings_changed(ledger, found)
    facts = _facts(found, differs, WHOLE)
    inputs = {"corruption": found.corruption, "drift": found.drift, "kpi": found.kpi}
    current = {"table_now": found.table == config.decisions.digest}
    return facts | inputs | current | {"row": found.row, "level": found.level, "actions": list(found.actions)}


def describe(facts: dict[str, Any]) -> str:
    """The same for people."""
    about = f"{facts['id']} on {facts['model']} {facts['about']} at {facts['at']:%Y-%m-%d %H:%M:%S} UTC"
    if "row" in facts:
        answers = ", ".join(f"{name} {facts[name]}" for name in ("corruption", "drift", "kpi"))
        said = f"  {answers} -> {facts['row']} ({facts['level']}): {', '.join(facts['actions']) or 'nothing done'}"
    else:
        said = f"  KPI {facts['kpi']}, action {facts['action']}"
    lines = [about, said, f"  because {facts['reason']}", f"  derived again: {facts['derived']}"]
    lines += [
        f"  DIFFERS {name}: stored {pair['stored']!r}, derived {pair['derived']!r}"
        for name, pair in facts["differs"].items()
    ]
    lines += ["  same"] if facts["same"] else []
    lines += [] if facts.get("table_now", True) else ["  the table in force now is another one"]
    return "\n".join(lines)


def _found(ledger: Ledger, identity: str) -> Ruling | GuardVerdict:
    try:
        return rulings.ruling(ledger, identity)
    except NotFound:
        pass
    try:
        return verdicts.verdict(ledger, identity)
    except NotFound:
        raise NotFound(
            f"{identity!r}", expected="the id of a ruling or a verdict", do="list them with `grownet models --json`"
        ) from None


def _ruled_again(stored: Ruling) -> Differences:
    try:
        again = derived_again(stored)
    except (msgspec.ValidationError, ValidationError) as error:
        return {"inputs": _pair("facts and a table", f"not readable: {error}")}
    return {
        name: _pair(getattr(stored, name), getattr(again, name))
        for name in Ruling.__struct_fields__
        if getattr(stored, name) != getattr(again, name)
    }


def _findings_changed(ledger: Ledger, stored: Ruling) -> Differences:
    """Findings that the ledger does not hold as the ruling says it saw them."""
    known = {one.id: one for one in findings.findings(ledger, stored.model)}
    told: tuple[Finding, ...] = facts_of(stored).findings
    return {f"finding {one.id}": _pair(one, known.get(one.id)) for one in told if known.get(one.id) != one}


def _facts(found: Ruling | GuardVerdict, differs: Differences, derived: str) -> dict[str, Any]:
    role = found.role if isinstance(found, Ruling) else found.arm
    return {
        "id": found.id,
        "model": found.model,
        "about": f"{role}, version {found.version}, revision {found.revision}",
        "at": found.at,
        "reason": found.reason,
        "derived": derived,
        "same": not differs,
        "differs": differs,
    }


def _pair(stored: Any, derived: Any) -> dict[str, Any]:
    return {"stored": stored, "derived": derived}
