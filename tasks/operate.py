"""What an operator does from the command line: the four verbs, operator keys, the check of the audit log.

Reads and writes the ledger with the operator's own signing key, so that the actor is never self-declared.
Each verb is one transaction, may be repeated, and is refused with a reason when it is impossible. The flow `operate` does the same for
whoever proves in the Prefect UI to be an operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checks import operating
from checks import plans as transitions
from configs.schema import Settings
from errors import NotFound, RevisionConflict, UsageError
from records import ReleasePlan, utc_now
from stores.ledger import audit, ballots, bias, evidence, incidents, people, plans, reviews, snapshots, standing, votes
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring
from stores.ledger.tables import Role
from stores.vault import Signer, Vault, totp_secret
from tasks import codes
from tasks.oneline import typed

FOR_THE_UI = "Its codes are asked for in the Prefect UI; the command line asks for none."
HISTORY = 20  # revisions in which a rollback of a moment ago is looked for


@dataclass(frozen=True)
class Act:
    """What an operator asks for. `seen` is the revision she looked at; None where it need not be that one."""

    verb: str
    model: str
    reason: str
    seen: int | None = None

    @property
    def said(self) -> str:
        return f"{self.verb}: {self.reason.strip()}"


@contextmanager
def opened(settings: Settings, role: Role) -> Iterator[Ledger]:
    """The house's ledger under a role; it must exist."""
    ledger = Ledger.open(settings.ledger_url, role, demo=settings.demo, create=False)
    try:
        yield ledger
    finally:
        ledger.close()


def act(  # noqa: PLR0917 - who does what to which model, and why, as it is said on the command line
    settings: Settings, verb: str, model: str, operator: str, reason: str, seen: int | None = None
) -> tuple[ReleasePlan, str]:
    """Carries a verb out, signed by the operator's key; the plan that is current afterwards, and the same in words.

    Args:
        seen: the revision the operator looked at; when somebody changed the plan since, nothing is done.

    Raises:
        UsageError: for an unknown verb or an empty reason.
        NotFound: for a name that is no operator.
        ReleaseRefused: when the verb is impossible now.
        RevisionConflict: when somebody else was first, saying who did what, and when.
    """
    asked = Act(verb, model, reason, seen)
    _refuse_unclear(asked)
    with opened(settings, "operator") as ledger:
        signer, now = signer_of(settings, ledger, operator), utc_now()
        try:
            plan = _carried_out(ledger, asked, signer, now)
        except RevisionConflict:
            if not _done_meanwhile(ledger, asked, signer.id, now):
                raise
            plan = standing.plan_now(ledger, model, signer.ring, now)
    words = transitions.describe(plan)
    return plan, words if plan.created_at == now else f"Nothing was changed: it is so already. {words}"


def _carried_out(ledger: Ledger, asked: Act, signer: Signer, at: datetime) -> ReleasePlan:
    recent, seen = _recent(ledger, asked.model), asked.seen
    if operating.done_before(asked.verb, recent, seen=seen, at=at, actor=signer.id, reason=asked.said):
        return standing.plan_now(ledger, asked.model, signer.ring, at)
    bound = recent[-1].revision if asked.verb == "rollback" and recent else None
    return plans.change(
        ledger,
        asked.model,
        _stop(asked, signer.id, at),
        signer=signer,
        actor=signer.id,
        expected_revision=bound if seen is None else seen,
    )


def _done_meanwhile(ledger: Ledger, asked: Act, actor: str, at: datetime) -> bool:
    """Whether what came first was this very act, given twice at the same time."""
    recent = _recent(ledger, asked.model)
    with suppress(RevisionConflict):
        return operating.done_before(asked.verb, recent, seen=asked.seen, at=at, actor=actor, reason=asked.said)
    return False


def _stop(asked: Act, actor: str, at: datetime) -> plans.Transition:
    return lambda plan: operating.stop(asked.verb, plan, at=at, actor=actor, reason=asked.said)


def rehearsed(ledger: Ledger, ring: Ring, asked: Act, actor: str, at: datetime) -> tuple[ReleasePlan, ReleasePlan]:
    """The plan now, and what `act` would make of it: the same object when it is so already. Writes nothing.

    Raises:
        what `act` raises.
    """
    _refuse_unclear(asked)
    before = standing.plan_now(ledger, asked.model, ring, at)
    recent = _recent(ledger, asked.model)
    if operating.done_before(asked.verb, recent, seen=asked.seen, at=at, actor=actor, reason=asked.said):
        return before, before
    return before, plans.applied(before, _stop(asked, actor, at), asked.seen)


def _refuse_unclear(asked: Act) -> None:
    if asked.verb not in operating.VERBS:
        raise UsageError("verb", expected=f"one of {sorted(operating.VERBS)}", got=asked.verb)
    if not asked.reason.strip():
        raise UsageError("--reason", expected="why", got="nothing", do="it is kept in the audit log")
    typed("--reason", asked.reason)  # signed, and printed to whoever asks why: it is not to draw on their terminals


def _recent(ledger: Ledger, model: str) -> list[ReleasePlan]:
    """The newest revisions, the current one last."""
    last = plans.current(ledger, model)
    after = max(last.plan.revision - HISTORY, 0) if last else 0
    return [row.signed.plan for row in plans.releases(ledger, model, after)]


def signer_of(settings: Settings, ledger: Ledger, operator: str) -> Signer:
    """The operator's own key; what it signs is this person's. Raises NotFound for a name that is no operator."""
    if operator not in {known.name for known in people.operators(ledger)}:
        raise NotFound(f"operator {operator!r}", expected="a known operator", do="`grownet operators add NAME`")
    return Vault.open(settings.home, f"operator:{operator}", settings.kms_key_uri).signer


def add_operator(settings: Settings, name: str) -> dict[str, Any]:
    """Makes an operator's own key (kept in the vault, 0600) and the secret of her codes, shown once, and notes both in the ledger.

    One who is registered stays as she is. The first call on a new home also makes the ledger.
    """
    signer = Vault.open(settings.home, f"operator:{name}", settings.kms_key_uri).signer
    facts = {"operator": name, "key": signer.id}
    ledger = Ledger.open(settings.ledger_url, "operator", demo=settings.demo)
    try:
        if name in {known.name for known in people.operators(ledger)}:
            do = f"`grownet operators code {name}` makes a new secret for codes"
            return {**facts, "text": f"operator {name} is registered already; {do}"}
        secret = totp_secret()
        sealed = _sealed(settings, signer.id, secret)
        new = people.Operator(name=name, key=signer.id, added_by=signer.id, at=utc_now(), secret=sealed)
        people.add_operator(ledger, new, signer.id)
    finally:
        ledger.close()
    return {**facts, **codes.shown_once(signer.id, secret, FOR_THE_UI)}


def give_code(settings: Settings, name: str) -> dict[str, Any]:
    """Makes a new secret for an operator's codes, shown once; the codes of the one before stop counting.

    Whoever can read the operator's key may: that key signs without a code, from the command line.

    Raises:
        NotFound: for a name that is no operator.
    """
    with opened(settings, "operator") as ledger:
        signer, secret = signer_of(settings, ledger, name), totp_secret()
        people.give_secret(ledger, name, _sealed(settings, signer.id, secret), signer.id)
    return {"operator": name, "key": signer.id, **codes.shown_once(signer.id, secret, FOR_THE_UI)}


def _sealed(settings: Settings, key: str, secret: str) -> str:
    """Sealed so that only who holds the key of codes can judge one."""
    return Vault.open(settings.home, "prover", settings.kms_key_uri).seal_code(key, secret)


def verify_audit(settings: Settings) -> dict[str, Any]:
    """Walks the hash chain from its first entry, then asks for every row that it tells of: plans, ballots, votes, reviewers,
    operators, candidates, evidence, discards, feature snapshots, bias audits, answers to the quarterly review, incidents and
    what people said of them. Each is compared with what the chain says of it, and checked by its signature where it has one;
    a row that the chain does not tell of is refused.

    Raises:
        TamperError: naming the first entry or row that does not match, or that is gone.
    """
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        entries = audit.verify(ledger)
        candidates, proofs = evidence.verify(ledger)
        return {
            "entries": entries,
            "plans": plans.verify_all(ledger, ring),
            "ballots": ballots.verify(ledger),
            "votes": votes.verify(ledger, ring),
            "reviewers": people.verify(ledger),
            "operators": people.verify_operators(ledger),
            "candidates": candidates,
            "evidence": proofs,
            "bias_audits": bias.verify(ledger),
            "feature_snapshots": snapshots.verify_all(ledger, ring),
            "review_answers": reviews.verify(ledger, ring),
            "incidents": incidents.verify(ledger, ring),
            "intact": True,
        }
