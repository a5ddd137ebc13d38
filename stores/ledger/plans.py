"""Release plans: signed, append-only, one current revision per model.

Written through `change` only: the release flow (on a ballot), the guard (naming its lease's epoch) and operators.
The plan, its audit entry, the events it causes and the ballot it carries out are one transaction.
Read by serving and guard, who check signatures themselves, and by `grownet trace` and `served`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from checks.authority import authorise
from checks.keys import key_kind
from checks.plans import describe, initial
from errors import ReleaseRefused, RevisionConflict, TamperError
from records import Incident, OutboxEvent, Record, ReleasePlan, Ruling, SignedPlan, digest_bytes, utc_now
from stores.ledger import audit, ballots, incidents, leases, outbox, rows, rulings, votes
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.signing import Ring, Signer

RELEASED = "release"
Transition = Callable[[ReleasePlan], ReleasePlan]


class Release(Record, frozen=True, kw_only=True):
    """A row of the releases table: a signed plan and how it came to be."""

    model: str
    revision: int
    at: datetime  # when it became current; never before the revision before it
    actor: str
    ballot: str  # the ballot it carries out, or empty
    audit: str  # hash of the audit entry written with it
    signed: SignedPlan


def current(ledger: Ledger, model: str) -> SignedPlan | None:
    """The newest plan of a model as it was signed, not verified; None before the first release."""
    with ledger.read() as connection:
        last = _last(connection, model)
    return last.signed if last else None


def models(ledger: Ledger) -> list[str]:
    """Every model that has a plan, by name."""
    with ledger.read() as connection:
        return sorted(connection.execute(sa.select(t.releases.c.model).distinct()).scalars())


def history(ledger: Ledger, model: str) -> list[SignedPlan]:
    """All plans of a model, oldest first, not verified."""
    return [release.signed for release in releases(ledger, model)]


def at(ledger: Ledger, model: str, time: datetime) -> SignedPlan | None:
    """The plan that was current at a time, or None when nothing was released yet."""
    with ledger.read() as connection:
        last = _last(connection, model, t.releases.c.at <= time)
    return last.signed if last else None


def releases(ledger: Ledger, model: str, after: int = 0) -> list[Release]:
    """The rows of a model with a revision above `after`, oldest first."""
    query = sa.select(t.releases).where(t.releases.c.model == model, t.releases.c.revision > after)
    with ledger.read() as connection:
        found = connection.execute(query.order_by(t.releases.c.revision)).mappings()
        return [_release(dict(row)) for row in found]


def release(ledger: Ledger, model: str, revision: int) -> Release | None:
    """One row: an answer names the revision it was given under."""
    with ledger.read() as connection:
        return _last(connection, model, t.releases.c.revision == revision)


def change(
    ledger: Ledger,
    model: str,
    transition: Transition,
    *,
    signer: Signer,
    actor: str,
    ballot: str = "",
    expected_revision: int | None = None,
    epoch: int | None = None,
    events: Sequence[OutboxEvent] = (),
    incident: Incident | None = None,
    ruling: Ruling | None = None,
) -> ReleasePlan:
    """Applies a pure transition of `checks.plans` to the current plan and writes the result.

    A transition that gives back its argument writes no plan, and a ballot that was carried out before is not
    carried out again: verbs and flows may be repeated.

    Args:
        signer: whose key signs; `checks.authority` says what it may change.
        actor: who does it; an operator's key always acts as its own id.
        ballot: the approved ballot this carries out; its base revision is expected then.
        expected_revision: the revision the caller decided on.
        epoch: of the guard's lease; a newer one in the ledger refuses the change.
        events: written to the outbox with the change (a `grownet.release.changed` is always added).
        incident: opened or updated with the change.
        ruling: of the decision table, that asked for it.

    Returns:
        the plan that is current now.

    Raises:
        RevisionConflict: when somebody else wrote first, saying who, what and when.
        TamperError: when the current plan's signature or its place in the audit chain is wrong.
        ReleaseRefused: for an impossible transition, or one that this key may not sign.
    """
    acting = signer.id if key_kind(signer.id) == "operator" else actor
    with ledger.write(acting) as transaction:
        transaction.head()  # writers of plans stand in line here, also on Postgres
        if epoch is not None:
            leases.refuse_stale(transaction, leases.GUARD, epoch)
        last = _last(transaction, model)
        before = _verified(transaction, last, signer.ring) if last else initial(model, utc_now())
        asked = _asked(transaction, ballot, model)
        if asked is not None and asked.status == "released":
            return before
        if asked is not None:
            votes.refuse_unvoted(transaction, asked, signer.ring)
        subject = asked.subject if asked else None
        expected = subject.base_revision if subject and expected_revision is None else expected_revision
        after = applied(before, transition, expected)
        if after is not before:
            authorise(before, after, signer.id, subject)
            after = _bound(after, before, last, acting)
            _append(transaction, after, signer, ballot, last)
            outbox.queue(transaction, [_changed(before, after), *events])
        if incident is not None:
            incidents.store(transaction, _answered(incident, before, after))
        if ruling is not None:
            rulings.store(transaction, ruling)
        if asked is not None:
            ballots.settle(transaction, asked, "released", f"revision {after.revision}", after.created_at)
    return after


def verify(signed: SignedPlan, ring: Ring) -> ReleasePlan:
    """The plan of a signed row, when a key that may sign plans signed exactly these bytes.

    Raises:
        TamperError: otherwise.
    """
    if not ring.allowed(signed.key, "plan"):
        raise TamperError("release plan", expected="the signature of a key for plans", got=f"key {signed.key!r}")
    ring.verify(signed.key, signed.payload.encode(), signed.signature)
    return signed.plan


def verify_all(ledger: Ledger, ring: Ring) -> int:
    """Compares every plan with the audit entry written with it, checks its signature, and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        kept = [_release(dict(row)) for row in connection.execute(sa.select(t.releases)).mappings()]
        entries = audit.told(connection, RELEASED)
    found = {f"{one.model} revision {one.revision}": one for one in kept}
    told = {f"{entry.subject} revision {entry.detail.get('revision')}": entry for entry in entries}
    rows.refuse_missing("plan", found.keys(), told.keys())
    for name, one in sorted(found.items()):
        _refuse_other(name, one, told[name])
        plan = verify(one.signed, ring)
        columns = (one.model, one.revision, one.actor)
        rows.refuse_moved(columns, (plan.model, plan.revision, plan.actor), "plan", name)
    return len(found)


def _refuse_other(name: str, found: Release, told: audit.Entry) -> None:
    written = (digest_bytes(found.signed.payload.encode()), found.signed.key, found.ballot, found.at, found.audit)
    said = told.detail
    if written != (said.get("plan"), said.get("key"), said.get("ballot"), told.at, told.hash):
        raise rows.differs("plan", name, expected="the one that the audit log tells of", got="another")


def _verified(transaction: Transaction, last: Release, ring: Ring) -> ReleasePlan:
    plan = verify(last.signed, ring)
    thing = f"{last.model} revision {last.revision}"
    if (plan.model, plan.revision) != (last.model, last.revision):
        raise TamperError(thing, expected="its own plan", got=f"that of {plan.model} revision {plan.revision}")
    told = transaction.execute(sa.select(t.audit.c.detail).where(t.audit.c.hash == last.audit)).scalar()
    if told is None or digest_bytes(last.signed.payload.encode()) not in told:
        raise TamperError(
            thing, expected="an audit entry that tells of it", got="none", do="run `grownet audit verify`"
        )
    before = _last(transaction, last.model, t.releases.c.revision == last.revision - 1)
    if plan.audit_head != (before.audit if before else ""):
        raise TamperError(thing, expected="a plan that follows the one before it", got=f"head {plan.audit_head[:12]!r}")
    return plan


def applied(before: ReleasePlan, transition: Transition, expected: int | None) -> ReleasePlan:
    """The transition's result; when the caller decided on another revision, only a repeat is let through.

    Raises:
        RevisionConflict: for anything else then.
        what the transition raises.
    """
    stale = expected is not None and expected != before.revision
    try:
        after = transition(before)
    except ReleaseRefused:
        if stale:
            raise _conflict(before, expected) from None
        raise
    if stale and after is not before:
        raise _conflict(before, expected)
    return after


def _conflict(before: ReleasePlan, expected: int | None) -> RevisionConflict:
    """Tells who decided on one revision what the plan has become: by whom, when, why."""
    return RevisionConflict(
        f"release plan of {before.model}",
        expected=f"revision {expected}",
        got=f"revision {before.revision}, written by {before.actor} at {before.created_at:%Y-%m-%d %H:%M:%S} UTC ({before.reason})",
        do="look at the plan as it is now and decide again",
    )


def _answered(incident: Incident, before: ReleasePlan, after: ReleasePlan) -> Incident:
    """An incident with the revision that answers it, written just now; one of a plan that stays is as it was."""
    return incident if after is before else replace(incident, switched_at=utc_now(), revision=after.revision)


def _bound(after: ReleasePlan, before: ReleasePlan, last: Release | None, actor: str) -> ReleasePlan:
    head = last.audit if last else ""
    return replace(after, model=before.model, revision=before.revision + 1, audit_head=head, actor=actor)


def _append(transaction: Transaction, plan: ReleasePlan, signer: Signer, ballot: str, last: Release | None) -> None:
    payload = plan.to_json()
    moment = max(plan.created_at, last.at) if last else plan.created_at
    detail = {
        "revision": plan.revision,
        "plan": digest_bytes(payload),
        "key": signer.id,
        "ballot": ballot,
        "reason": plan.reason,
    }
    row: dict[str, Any] = {
        "model": plan.model,
        "revision": plan.revision,
        "at": moment,
        "actor": plan.actor,
        "key": signer.id,
        "signature": signer.sign(payload),
        "ballot": ballot,
        "audit": transaction.audit(RELEASED, plan.model, detail, moment),
        "payload": payload.decode(),
    }
    transaction.execute(sa.insert(t.releases).values(**row))


def _changed(before: ReleasePlan, after: ReleasePlan) -> OutboxEvent:
    return OutboxEvent(
        id=f"release-{after.model}-{after.revision}",
        kind="event",
        level="ok",
        model=after.model,
        name="grownet.release.changed",
        title=f"{after.model}: revision {after.revision}",
        body={"before": describe(before), "after": describe(after), "actor": after.actor, "reason": after.reason},
        at=after.created_at,
    )


def _asked(transaction: Transaction, ballot: str, model: str) -> ballots.Ballot | None:
    if not ballot:
        return None
    found = ballots.required(transaction, ballot)
    if found.status not in {"approved", "released"} or found.model != model:
        raise ReleaseRefused(
            f"ballot {ballot}",
            expected=f"an approved one of {model}",
            got=f"{found.status}, of {found.model}",
            do="ask for a vote",
        )
    return found


def _last(
    reader: sa.Connection | Transaction, model: str, where: sa.ColumnElement[bool] | None = None
) -> Release | None:
    query = sa.select(t.releases).where(t.releases.c.model == model).order_by(t.releases.c.revision.desc()).limit(1)
    row = reader.execute(query if where is None else query.where(where)).mappings().first()
    return _release(dict(row)) if row else None


def _release(row: dict[str, Any]) -> Release:
    signed = SignedPlan(payload=row.pop("payload"), key=row.pop("key"), signature=row.pop("signature"))
    return Release(signed=signed, **row)
