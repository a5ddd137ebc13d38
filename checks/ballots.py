"""Votes, judged: whether a ballot is decided, whether an approval holds, which time step a code belongs to.

Pure. Used by the release flow when it counts, and again by serving where a model is loaded, so that a leave to
serve is checked on both sides by the same lines.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Literal

import pyotp

from checks.keys import may_sign
from errors import AdmissionRefused, TamperError
from records import Arm, BallotSubject, Vote

Verify = Callable[[str, bytes, str], None]
STEP_SECONDS = 30  # RFC 6238
DRIFT_STEPS = 1  # a code of the step before or after is taken too


def judge_votes(
    subject_digest: str, votes: Sequence[Vote], required_roles: Sequence[str]
) -> Literal["open", "approved", "refused"]:
    """Decides a ballot from its verified votes: any no refuses, a yes of each required role approves.

    One person has one role and one vote: of several votes of a person or of a role the first counts.
    Votes over another subject do not count at all. Without required roles nothing is ever approved.
    """
    counted = [vote for vote in votes if vote.subject == subject_digest]
    if any(vote.decision == "no" for vote in counted):
        return "refused"
    persons: set[str] = set()
    roles: set[str] = set()
    for vote in counted:
        if vote.reviewer not in persons and vote.role not in roles:
            persons.add(vote.reviewer)
            roles.add(vote.role)
    return "approved" if required_roles and set(required_roles) <= roles else "open"


def verify_approval(arm: Arm, verify: Verify, *, model: str, roles: Sequence[str]) -> None:
    """Checks that the leave an arm carries is over exactly this arm and was given by the right people.

    Args:
        arm: a version that is about to serve; its artifact's hash is checked by the caller against the bytes.
        verify: `Verifier.verify` of the public ring.
        model: the model the arm is to serve.
        roles: the roles this house requires to promote, from its own configuration; the approval's own claim can
            only add to them.

    Raises:
        AdmissionRefused: naming what is missing or differs.
    """
    if arm.approval is None:
        raise AdmissionRefused(
            f"{arm.name}: approval", expected="a ballot over it", got="none", do="release it by a vote"
        )
    subject = arm.approval.subject
    for name, value in _covered(model, arm).items():
        if not value or getattr(subject, name) != value:
            raise AdmissionRefused(
                f"{arm.name}: {name} of ballot {subject.ballot}",
                expected=value or f"a {name} to compare with",
                got=getattr(subject, name),
                do="the vote was over something else: vote again",
            )
    for vote in arm.approval.votes:
        verify_vote(vote, subject, verify)
    required = {*roles, *arm.approval.required_roles}
    if judge_votes(subject.digest, arm.approval.votes, sorted(required)) != "approved":
        got = [f"{vote.reviewer} ({vote.role}) {vote.decision}" for vote in arm.approval.votes]
        raise AdmissionRefused(
            f"{arm.name}: ballot {subject.ballot}",
            expected=f"a yes of each of {sorted(required)}",
            got=got,
            do="vote again",
        )


def _covered(model: str, arm: Arm) -> dict[str, str]:
    """What the ballot's subject must say of this arm."""
    return {
        "model": model,
        "verb": "promote",
        "artifact": arm.artifact.content if arm.artifact else "",
        "evidence": arm.evidence,
        "config": arm.config,
        "feature": arm.features.version.content if arm.features else "",
    }


def verify_vote(vote: Vote, subject: BallotSubject, verify: Verify) -> None:
    """Checks one vote row: over this subject, signed, and by a key that may sign votes.

    Raises:
        AdmissionRefused: also when a signature is right but of a key that only signs plans.
    """
    thing = f"vote of {vote.reviewer} on ballot {subject.ballot}"
    if vote.ballot != subject.ballot or vote.subject != subject.digest:
        raise AdmissionRefused(thing, expected=f"a vote over {subject.digest[:12]}", got=vote.subject[:12])
    if not may_sign(vote.key, "vote"):
        raise AdmissionRefused(thing, expected="the signature of the release key", got=f"one of {vote.key!r}")
    try:
        verify(vote.key, vote.unsigned(), vote.signature)
    except TamperError as error:
        raise AdmissionRefused(
            thing, expected="a valid signature", got=str(error), do="run `grownet audit verify`"
        ) from error


def matching_step(secret: str, code: str, at: datetime) -> int | None:
    """The time step (Unix time / 30 s) whose TOTP code this is, or None.

    The step of `at` and one to either side are tried, each compared in constant time; `at` is when the code was
    received. A step may be used once per reviewer: the ledger keeps that.
    """
    typed = "".join(code.split())
    if len(typed) != 6 or not (typed.isascii() and typed.isdigit()):
        return None
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    now = int(at.timestamp()) // STEP_SECONDS
    steps = sorted(range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1), key=lambda step: abs(step - now))
    matches = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), typed)]
    return matches[0] if matches else None


def is_author(names: Sequence[str], authors: Sequence[str]) -> bool:
    """True when one of a person's names or addresses is an author; "Ada <ada@x.org>" matches either part."""
    own = {name.casefold() for name in names if name}
    for author in authors:
        parts = {author.casefold(), *(part.casefold() for part in parseaddr(author))}
        if own & (parts - {""}):
            return True
    return False
