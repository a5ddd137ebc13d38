"""The quarterly compliance review: a checklist that checks of ours and people answer, and a Warning when they do not.

Reads configs/compliance.yaml, the ledger and what the checks look at; writes answers, the state of a quarter and its alerts to
the ledger, and a page. Looked at each day by the flow `audit`; people answer with `grownet audit answer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec
from msgspec.structs import replace

from checks import reviews as judging
from checks.alerts import HOUSE, alert
from checks.reviews import Checklist, Line, Quarter
from configs.schema import Check, Config, ReviewItem, Settings
from errors import GrownetError, LedgerUnavailable, NotFound, RoleRefused, TamperError, UsageError
from records import AlertBody, Decision, OutboxEvent, ReviewAnswer, ReviewState
from stores.ledger import outbox, people, reviews
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tasks import proofs
from tasks.oneline import oneline, typed
from tasks.operate import opened, signer_of
from tasks.proofs import Proof

ACTOR = "audit"


@dataclass(frozen=True)
class Given:
    """What a person says to an item."""

    item: str
    decision: Decision
    reason: str
    operator: str
    quarter: str = ""  # the one it is when left out


def look(settings: Settings, config: Config, at: datetime) -> list[Checklist]:
    """Answers what checks can tell of the open quarters, and tells what became overdue; these quarters, oldest first.

    Nothing to do in a house whose ledger has no entry yet.

    Raises:
        RevisionConflict: when two looked at once; the other one's answers stand.
        TamperError: for rows of the review that cannot be read, after it was told.
    """
    with opened(settings, "flow") as ledger:
        try:
            return _looked(settings, config, ledger, at)
        except TamperError as error:
            with ledger.write(ACTOR) as transaction:
                outbox.queue(transaction, [_unreadable(config, error, at)])
            raise


def _looked(settings: Settings, config: Config, ledger: Ledger, at: datetime) -> list[Checklist]:
    begun = _begun(ledger, config, at)
    if begun is None:
        return []
    quarters, told = judging.open_quarters(begun, at, config.compliance), _told(settings, config, at)
    for quarter in quarters:
        new = _checked(config, reviews.written(ledger, quarter.name), quarter, told, at)
        reviews.record(ledger, new, quarter.name, partial(_settle, config, quarter, at), ACTOR)
    found = [(quarter, reviews.written(ledger, quarter.name)) for quarter in quarters]
    return [judging.checklist(quarter, config.compliance, answers, at) for quarter, answers in found]


def _unreadable(config: Config, error: TamperError, at: datetime) -> OutboxEvent:
    """The alert of a review that cannot be looked at, since its own rows are not what was written: once for each such row."""
    return alert(
        key=[str(error), "review"],
        level="warning",
        model=HOUSE,
        title="compliance review: it cannot be read",
        body=AlertBody(
            what=f"The review cannot be looked at: {oneline(str(error))}",
            evidence={},
            done="nothing: what serves is as before, and nobody is asked",
            owner=config.defaults.owners.deploy,
            next="`grownet audit verify`; compare the ledger with a backup.",
            link="",
        ),
        at=at,
    )


def answer(settings: Settings, config: Config, given: Given, at: datetime) -> Checklist:
    """Records a person's answer, signed with the person's own key; the quarter as it stands then.

    Raises:
        NotFound: for an unknown item, and a name that is no operator or no reviewer.
        UsageError: for an item that a check answers, a quarter that is not open; for a reason that is empty,
            endless, of several lines, or with characters that are not seen.
        RoleRefused: when the person has another role than the item asks for.
        RevisionConflict: when somebody else answered the item meanwhile.
    """
    item, reason = _asked(config, given.item), typed("--reason", given.reason)
    with opened(settings, "operator") as ledger:
        signer = signer_of(settings, ledger, given.operator)
        _refuse_other_role(ledger, item, given.operator)
        quarter = _open(ledger, config, given.quarter, at)
        known = [one for one in reviews.answers(ledger, quarter.name, signer.ring) if one.item == item.id]
        unsigned = ReviewAnswer(
            quarter=quarter.name,
            item=item.id,
            number=len(known) + 1,
            answer=given.decision,
            reason=reason,
            question=item.question,
            role=item.role,
            at=at,
            key=signer.id,
        )
        signed = replace(unsigned, signature=signer.sign(unsigned.unsigned()))
        reviews.record(ledger, [signed], quarter.name, partial(_settle, config, quarter, at), signer.id)
        answers = reviews.answers(ledger, quarter.name, signer.ring)
    return judging.checklist(quarter, config.compliance, answers, at)


def checklists(settings: Settings, config: Config, at: datetime, name: str = "") -> list[Checklist]:
    """A quarter by its name, or those that are open; every answer is checked. Writes nothing.

    Raises:
        UsageError: for a quarter before the review began, or no quarter at all.
        TamperError: for an answer that was changed.
    """
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        begun = _begun_house(ledger, config, at)
        named = [judging.quarter(name, begun, config.compliance)] if name else []
        quarters = named or judging.open_quarters(begun, at, config.compliance)
        found = [(quarter, reviews.answers(ledger, quarter.name, ring)) for quarter in quarters]
    return [judging.checklist(quarter, config.compliance, answers, at) for quarter, answers in found]


def _told(settings: Settings, config: Config, at: datetime) -> dict[Check, Proof]:
    """What each check that is asked for says now."""
    with proofs.house(settings, config, at) as house:
        return {item.check: _proof(item.check, house) for item in config.compliance.items if item.check is not None}


def _proof(check: Check, house: proofs.House) -> Proof:
    """What a check says. One that fails says no: it cannot tell, and it silences none of the others."""
    try:
        return proofs.CHECKS[check](house)
    except LedgerUnavailable:
        raise
    except (GrownetError, ValueError, KeyError, msgspec.MsgspecError) as error:
        return Proof(False, f"the check failed: {oneline(f'{type(error).__name__}: {error}')}")


def _checked(
    config: Config, written: Sequence[ReviewAnswer], quarter: Quarter, told: Mapping[Check, Proof], at: datetime
) -> list[ReviewAnswer]:
    """What the checks say now where that is another than what they said last; once a quarter is past, its yes stays."""
    new = []
    for item in config.compliance.items:
        if item.check is None or not judging.is_asked(item, quarter):
            continue
        said, before = told[item.check], [one for one in written if one.item == item.id]
        decision: Decision = "yes" if said.good else "no"
        last = (before[-1].answer, before[-1].reason) if before else None
        if last == (decision, said.said) or (last and last[0] == "yes" and at >= quarter.end):
            continue
        new.append(
            ReviewAnswer(
                quarter=quarter.name,
                item=item.id,
                number=len(before) + 1,
                answer=decision,
                reason=said.said,
                question=item.question,
                role=item.role,
                at=at,
                key=reviews.CHECK,
            )
        )
    return new


def _settle(
    config: Config, quarter: Quarter, at: datetime, answers: Sequence[ReviewAnswer], before: ReviewState | None
) -> reviews.Told:
    found = judging.checklist(quarter, config.compliance, answers, at)
    state = judging.state_of(found, before, at)
    return state, _news(config, found, state, before) if state is not None else None


def _news(config: Config, found: Checklist, state: ReviewState, before: ReviewState | None) -> OutboxEvent | None:
    """The alert of a state that is worse than the one before, or well again."""
    over, quarter = judging.is_over(state), found.quarter
    if not over and not judging.is_worse(state, before):
        return None
    bad = [line for line in found.lines if line.status in {"no", "overdue"}]
    said = [
        f"{len(items)} {word}: {', '.join(items)}"
        for word, items in (("overdue", state.overdue), ("answered no", state.refused))
        if items
    ]
    owners = sorted({config.defaults.owners.of(line.item.owner) for line in bad})
    return alert(
        key=[quarter.name, state.number, "review"],
        level="ok" if over else "warning",
        model=HOUSE,
        title=f"compliance review {quarter.name}: " + ("nothing is wrong any more" if over else "not as it should be"),
        body=AlertBody(
            what=f"Compliance review of {quarter.name}, due {quarter.due:%Y-%m-%d}: "
            + ("what was overdue or answered no is answered yes." if over else f"{'; '.join(said)}."),
            evidence={line.item.id: evidence_of(line) for line in bad},
            done="nothing: people answer, what serves is as before",
            owner=", ".join(owners) or config.defaults.owners.approve,
            next="Nothing."
            if over
            else "`grownet audit review`; mend what a check says no to, and for the rest "
            "`grownet audit answer ITEM --yes --reason ... --as NAME` by somebody of the role named.",
            link=page_of(quarter.name),
        ),
        at=state.at,
    )


def evidence_of(line: Line) -> str:
    """What is wrong with an item, in a line."""
    if line.status == "overdue":
        return f"overdue, for {line.item.role}: {line.item.question} Look at: {line.item.evidence}"
    return f"no ({line.answers[-1].key}): {line.answers[-1].reason}"


def page_of(quarter: str) -> str:
    """Where the page of a quarter is, below home."""
    return f"pages/audit/review-{quarter}.html"


def _asked(config: Config, name: str) -> ReviewItem:
    items = {item.id: item for item in config.compliance.items}
    if name not in items:
        raise NotFound(f"item {name!r}", expected=f"one of {sorted(items)}", do="see `grownet audit review`")
    if items[name].check is not None:
        raise UsageError(
            f"item {name}",
            expected="one that people answer",
            got=f"one that the check {items[name].check} answers each day",
            do="mend what it says; the next run of the audit flow looks again",
        )
    return items[name]


def _refuse_other_role(ledger: Ledger, item: ReviewItem, operator: str) -> None:
    """The name is that of a reviewer, whose role was given by vote."""
    role = people.reviewer(ledger, operator).role
    if role != item.role:
        do = f"ask somebody who is enrolled as {item.role}"
        raise RoleRefused(f"item {item.id}", expected=f"an answer of {item.role}", got=f"{operator}, {role}", do=do)


def _open(ledger: Ledger, config: Config, name: str, at: datetime) -> Quarter:
    quarters = judging.open_quarters(_begun_house(ledger, config, at), at, config.compliance)
    found = [one for one in quarters if one.name == (name or quarters[-1].name)]
    if not found:
        raise UsageError(
            "quarter",
            expected=f"one that is open: {[one.name for one in quarters]}",
            got=name,
            do="a quarter can be answered until the next one ends",
        )
    return found[0]


def _begun(ledger: Ledger, config: Config, at: datetime) -> datetime | None:
    """When the review of the house began: with its first answer, which is a check's on the first look. None for no house.

    An older house is so not asked about quarters before it had a review. Where no check answers, with its first entry.
    """
    first = reviews.first_entry(ledger)
    if first is None or all(item.check is None for item in config.compliance.items):
        return first
    for name in judging.names(first, at):
        try:
            given = reviews.written(ledger, name)
        except TamperError:  # there is one; what is wrong with it the check of the audit log says
            return judging.quarter(name, first, config.compliance).start
        if given:
            return min(one.at for one in given)
    return at


def _begun_house(ledger: Ledger, config: Config, at: datetime) -> datetime:
    begun = _begun(ledger, config, at)
    if begun is None:
        raise NotFound("compliance review", expected="a house with a ledger entry", got="none", do="begin to use it")
    return begun
