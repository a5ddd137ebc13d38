"""What people do about a ballot from a terminal: ask for one, vote, enrol a reviewer. Behind `grownet vote`, `release` and `reviewers`.

A vote goes to the waiting release run as the form in the Prefect UI sends it: one way only, judged in one place. A
request starts a run of the release flow. Only the first person of each role is enrolled here directly.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, get_args

from msgspec.structs import replace

from configs.schema import Config, Settings
from errors import NotFound, UsageError, VoteRefused
from records import Record, Verb, utc_now
from stores.ledger import ballots, people
from stores.ledger.engine import Ledger
from stores.ledger.people import Reviewer
from stores.vault import Vault, totp_secret
from tasks import codes, runs
from tasks.counting import LENGTHS, Counted, said_of
from tasks.operate import opened
from tasks.questions import ENROLMENT, fit

POLL_SECONDS = 0.1
FORM_NOT_YET = "Run input schema not found."  # Prefect shows the run as waiting a moment before its form is there


class Submission(Record, frozen=True, kw_only=True):
    """What became of a vote that was sent."""

    run: str
    ballot: str
    reviewer: str
    said: str  # by the release flow; empty when it was not waited for
    counted: bool | None  # None when it was not waited for
    status: str  # of the ballot by then
    seconds: float  # from sending to counting


def request(settings: Settings, model: str, verb: Verb, candidate: str, detail: str) -> str:
    """Starts a release run that asks people; returns the id of the flow run.

    Raises:
        UsageError: for an unknown verb, or without a reason.
        NotFound: when the deployment is not there.
        StackError: when Prefect is away.
    """
    if verb not in get_args(Verb):
        raise UsageError("verb", expected=f"one of {list(get_args(Verb))}", got=verb)
    if not detail.strip():
        raise UsageError("--reason", expected="why", got="nothing", do="the people who vote read it")
    asked = {"model": model, "verb": verb, "candidate": candidate, "detail": detail.strip()}
    return runs.start_deployment(settings, runs.RELEASE, asked)


def submit(  # noqa: PLR0917 - the fields of the form, in its order
    settings: Settings,
    model: str,
    reviewer: str,
    decision: str,
    reason: str,
    code: str,
    *,
    ballot: str = "",
    wait_seconds: float = 60.0,
) -> Submission:
    """Sends a vote to the run that waits for it, and waits for what the release flow makes of it.

    Args:
        ballot: the ballot that was read, when the caller knows it; a vote never lands on another one.
        wait_seconds: for a form to answer, and again for its counting; 0 = send at once and do not wait.

    Raises:
        NotFound: when no ballot of the model is open.
        VoteRefused: when it is another ballot, when Prefect refuses the form, and when the release flow counts it as
            no vote; the message says why.
        StackError: when Prefect is away.
    """
    with opened(settings, "reader") as ledger:
        found = ballots.open_for(ledger, model)
        if found is None or ballot not in {"", found.id}:
            got = f"ballot {found.id}" if found else "none"
            do = "`grownet models` shows what is asked"
            raise (VoteRefused if ballot else NotFound)(
                f"{model}: vote", expected=ballot or "an open ballot", got=got, do=do
            )
        form = {"reviewer": reviewer, "decision": decision, "reason": reason, "code": code}
        sent = time.monotonic()
        run, taken = _send(settings, model, form, sent + wait_seconds)
        name = reviewer.strip()[: LENGTHS["reviewer"]]
        said = _heard(ledger, found.id, name, taken, wait_seconds)
        if said is not None and not said.vote:
            raise VoteRefused("no vote", got=said.said)
        return Submission(
            run=run,
            ballot=found.id,
            reviewer=name,
            said=said.said if said else "",
            counted=said.vote if said else None,
            status=ballots.ballot(ledger, found.id).status,
            seconds=round(time.monotonic() - sent, 3),
        )


def enroll(settings: Settings, config: Config, *, name: str, role: str, email: str, actor: str) -> dict[str, Any]:
    """Enrols a reviewer: directly while the role has nobody, afterwards by asking for a vote. The secret is shown once.

    A known name gets a new secret, or another role, by a vote only.

    Args:
        email: compared with the authors of what is voted on, and with the addresses of the other reviewers.
        actor: a known operator, whose key must be at hand.

    Raises:
        UsageError: for a role that votes on nothing, an unusable name, or without an address.
        ReleaseRefused: for somebody who is enrolled already, under whatever name.
        NotFound: for an unknown operator.
    """
    asked = Reviewer(
        name=name, role=role, secret="", identities=(email.strip(),) if email else (), enrolled_by="", at=utc_now()
    )
    fit(asked, config)
    with opened(settings, "reader") as ledger:
        if actor not in {known.name for known in people.operators(ledger)}:
            raise NotFound(f"operator {actor!r}", expected="a known operator", do="`grownet operators add NAME`")
        others = people.reviewers(ledger)
    people.refuse_twin(asked, others)
    by = Vault.open(settings.home, f"operator:{actor}", settings.kms_key_uri).signer.id
    secret, vault = totp_secret(), Vault.open(settings.home, "release", settings.kms_key_uri)
    new = replace(asked, secret=vault.seal_code(name, secret), enrolled_by=by)
    direct = not any(role == other.role or name == other.name for other in others)
    facts: dict[str, Any] = {"reviewer": name, "role": role, "direct": direct, "flow_run": ""}
    if facts["direct"]:
        with opened(settings, "release") as ledger:
            people.add_reviewer(ledger, new, by, first=True)
    else:
        facts["flow_run"] = request(settings, ENROLMENT, "enroll", "", new.to_json().decode())
    run = facts["flow_run"]
    then = f"It counts once the ballot of run {run} is approved." if run else "It counts from now on."
    return {**facts, **codes.shown_once(name, secret, then)}


def _heard(ledger: Ledger, ballot: str, reviewer: str, taken: datetime, seconds: float) -> Counted | None:
    """What the release flow made of a submission; None when it said nothing in this time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = ballots.ballot(ledger, ballot)
        said = said_of(ledger, ballot, reviewer, taken, None)
        if said is None and now.status != "open":
            said = Counted(vote=False, said=f"ballot {ballot} is {now.status}: {now.closed_reason}")
        if said is not None:
            return said
        time.sleep(POLL_SECONDS)
    return None


def _send(settings: Settings, model: str, form: dict[str, str], until: float) -> tuple[str, datetime]:
    """Answers the form as soon as one waits; the run's id and when the server took it.

    Raises:
        NotFound: when no run waits by then.
        VoteRefused: when Prefect refuses what was typed.
    """
    said = "no run of it waits for an answer"
    while True:
        run = runs.waiting(settings, model)
        if run is not None:
            answered = runs.answer(settings, run, form)
            if answered.at is not None:
                return run, answered.at
            said = answered.reason
            if said.startswith("Reason:"):  # the form's schema, see prefect.server.api.flow_runs.resume_flow_run
                raise VoteRefused("submission", expected="a form that Prefect takes", got=said)
        if time.monotonic() > until:
            raise NotFound(f"{model}: a release run to vote in", got=said, do="look at the release runs in Prefect")
        time.sleep(POLL_SECONDS)
