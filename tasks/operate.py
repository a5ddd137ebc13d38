"""What an operator does from the command line: the four verbs, operator keys, the check of the audit log.

Reads and writes the ledger with the operator's own signing key, so that the actor is never self-declared.
Each verb is one transaction, may be repeated, and is refused with a reason when it is impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from checks import plans as transitions
from configs.schema import Settings
from errors import NotFound, UsageError
from records import ReleasePlan, utc_now
from stores.ledger import audit, ballots, bias, evidence, incidents, people, plans, reviews, snapshots, votes
from stores.ledger.engine import Ledger
from stores.ledger.tables import Role
from stores.vault import Signer, Vault

Verb = Callable[..., ReleasePlan]
VERBS: dict[str, Verb] = {
    "freeze": transitions.freeze,
    "hold": transitions.hold,
    "rollback": transitions.undo,
    "fallback": transitions.fallback,
}


@contextmanager
def opened(settings: Settings, role: Role) -> Iterator[Ledger]:
    """The house's ledger under a role; it must exist."""
    ledger = Ledger.open(settings.ledger_url, role, demo=settings.demo, create=False)
    try:
        yield ledger
    finally:
        ledger.close()


def act(settings: Settings, verb: str, model: str, operator: str, reason: str) -> tuple[ReleasePlan, str]:
    """Carries a verb out, signed by the operator's key; the plan that is current afterwards, and the same in words.

    Raises:
        UsageError: for an unknown verb or an empty reason.
        NotFound: for a name that is no operator.
        ReleaseRefused: when the verb is impossible now.
    """
    if verb not in VERBS:
        raise UsageError("verb", expected=f"one of {sorted(VERBS)}", got=verb)
    if not reason.strip():
        raise UsageError("--reason", expected="why", got="nothing", do="it is kept in the audit log")
    with opened(settings, "operator") as ledger:
        signer = signer_of(settings, ledger, operator)
        now = utc_now()

        def transition(plan: ReleasePlan) -> ReleasePlan:
            return VERBS[verb](plan, at=now, actor=signer.id, reason=f"{verb}: {reason.strip()}")

        plan = plans.change(ledger, model, transition, signer=signer, actor=signer.id)
    return plan, transitions.describe(plan)


def signer_of(settings: Settings, ledger: Ledger, operator: str) -> Signer:
    """The operator's own key; what it signs is this person's. Raises NotFound for a name that is no operator."""
    if operator not in {known.name for known in people.operators(ledger)}:
        raise NotFound(f"operator {operator!r}", expected="a known operator", do="`grownet operators add NAME`")
    return Vault.open(settings.home, f"operator:{operator}", settings.kms_key_uri).signer


def add_operator(settings: Settings, name: str) -> dict[str, Any]:
    """Makes an operator's own key (kept in the vault, 0600) and notes it in the ledger.

    The first call on a new home also makes the ledger.
    """
    signer = Vault.open(settings.home, f"operator:{name}", settings.kms_key_uri).signer
    ledger = Ledger.open(settings.ledger_url, "operator", demo=settings.demo)
    try:
        new = people.Operator(name=name, key=signer.id, added_by=signer.id, at=utc_now())
        if name not in {known.name for known in people.operators(ledger)}:
            people.add_operator(ledger, new, signer.id)
    finally:
        ledger.close()
    return {"operator": name, "key": signer.id}


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
