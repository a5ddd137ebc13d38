"""What a ballot is over: composes the question from candidate, evidence, plan and configuration, and says what changed since.

Reads the ledger; writes nothing. Used by `tasks.board` when a ballot opens, before each vote is counted, and before the
ballot is carried out. A question that could not be carried out is refused before anybody is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from checks import plans as transitions
from configs.load import recipe_of
from configs.schema import Config, ModelConfig, Settings
from errors import ReleaseRefused, UsageError
from records import (
    Approval,
    Arm,
    BallotSubject,
    Candidate,
    Evidence,
    Record,
    ReleasePlan,
    Rollout,
    RolloutGates,
    Step,
    Verb,
)
from stores.ledger import evidence, people, standing
from stores.ledger.ballots import Ballot, Question
from stores.ledger.engine import Ledger
from stores.ledger.people import Reviewer
from stores.vault import Vault
from tasks import ballot_page, places
from tasks.operate import opened

ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")
ENROLMENT = "reviewers"  # stands where a model's name does in a ballot over a reviewer
MOVES: dict[Verb, Callable[..., ReleasePlan]] = {
    "unfreeze": transitions.unfreeze,
    "resume": transitions.resume,
    "restore": transitions.restore,
    "advance": transitions.advance,
}


class Asked(Record, frozen=True, kw_only=True):
    """What a release run was started for."""

    model: str
    verb: Verb
    candidate: str = ""
    detail: str = ""  # why; to enroll: a Reviewer as JSON
    run: str  # id of the flow run

    @property
    def opened_by(self) -> str:
        return f"release run {self.run}"


@dataclass(frozen=True)
class Board:
    """What deciding takes: the ledger in the role `release`, and its key."""

    settings: Settings
    config: Config
    ledger: Ledger
    vault: Vault


@contextmanager
def seated(settings: Settings, config: Config) -> Iterator[Board]:
    """Opens ledger and vault as the release flow."""
    with opened(settings, "release") as ledger:
        yield Board(settings, config, ledger, Vault.open(settings.home, "release", settings.kms_key_uri))


def compose(board: Board, asked: Asked, at: datetime) -> Question:
    """The question of a release run.

    Raises:
        NotFound: for an unknown model or candidate.
        UsageError: for a model that is switched off.
        ReleaseRefused: when a yes could not be carried out: no passed evidence, a running rollout, nothing to undo.
    """
    config, ledger = board.config, board.ledger
    if asked.verb == "enroll":
        return _question(config, asked, at, _nothing(asked, 0), _enrolment(board, asked))
    recipe = recipe_of(config, asked.model)
    plan = standing.plan_now(ledger, asked.model, board.vault.verifier, at)
    if asked.verb != "promote":
        return _undoing(config, asked, plan, at)
    candidate = evidence.candidate(ledger, asked.candidate)
    if candidate.model != asked.model:
        raise ReleaseRefused(f"candidate {candidate.id}", expected=f"one of {asked.model}", got=candidate.model)
    proof, rollout = standing.passed_evidence(ledger, candidate), rollout_of(recipe)
    subject = _subject(asked, plan, candidate, proof, rollout)
    leave = Approval(subject=subject, votes=(), required_roles=config.defaults.approval.roles["promote"])
    _rehearse(plan, arm_of(candidate, subject, leave), rollout, at)
    cards = f"{board.settings.mlflow_url}/#/models/{asked.model}"
    card = str(places.card(asked.model, candidate.versions.model.name))
    about = ballot_page.Promotion(candidate, proof, plan, rollout, plan.frozen, cards, card)
    made = _question(config, asked, at, subject, ballot_page.promotion(about, config))
    return msgspec.structs.replace(made, rollout=rollout, candidate=candidate.id, barred=candidate.authors)


def changed(board: Board, found: Ballot, at: datetime) -> str:
    """Why a ballot is not over what there is now, or an empty text."""
    return standing.outdated(board.ledger, found, board.vault.verifier, at)


def rollout_of(recipe: ModelConfig) -> Rollout:
    """Steps and limits as they are configured now; a ballot keeps those of its opening."""
    limits = recipe.rollout.model_dump(exclude={"steps", "control_percent"})
    return Rollout(
        steps=tuple(Step(**step.model_dump()) for step in recipe.rollout.steps),
        gates=RolloutGates(kpi=recipe.kpi, **limits),
        control_percent=recipe.rollout.control_percent,
    )


def arm_of(candidate: Candidate, subject: BallotSubject, approval: Approval) -> Arm:
    """The version that a ballot lets out, with its leave."""
    return Arm(
        number=candidate.number,
        name=candidate.versions.model.name,
        artifact=candidate.artifact,
        features=candidate.features,
        versions=candidate.versions,
        evidence=subject.evidence,
        config=subject.config,
        approval=approval,
    )


def _undoing(config: Config, asked: Asked, plan: ReleasePlan, at: datetime) -> Question:
    after = MOVES[asked.verb](plan, at=at, actor=asked.opened_by, reason=asked.detail)
    if after is plan:
        got = transitions.describe(plan)
        raise ReleaseRefused(f"{plan.model}: cannot {asked.verb}", expected="something to undo", got=got)
    page = ballot_page.undoing(asked.verb, plan, asked.detail)
    return _question(config, asked, at, _nothing(asked, plan.revision), page)


def _enrolment(board: Board, asked: Asked) -> str:
    if asked.model != ENROLMENT:
        raise UsageError("enroll", expected=f"the model {ENROLMENT!r}", got=asked.model)
    new = enrolled(asked.detail, board.config)
    people.refuse_twin(new, people.reviewers(board.ledger))
    return ballot_page.enrolment(new.name, new.role, new.identities, new.enrolled_by)


def enrolled(detail: str, config: Config) -> Reviewer:
    """The reviewer an enrolment is about.

    Raises:
        UsageError: for a detail that is none, or one who cannot be a reviewer.
    """
    try:
        return fit(Reviewer.from_json(detail), config)
    except msgspec.MsgspecError as error:
        do = "ask with `grownet reviewers enroll`"
        raise UsageError("enroll: detail", expected="a reviewer as JSON", got=error, do=do) from error


def fit(new: Reviewer, config: Config) -> Reviewer:
    """The same reviewer, when it can be one.

    Raises:
        UsageError: for an unusable name, a role that votes on nothing, and without an e-mail address.
    """
    roles = sorted({one for named in config.defaults.approval.roles.values() for one in named})
    if new.role not in roles or not new.name.strip() or new.name != new.name.strip()[: people.NAME_LENGTH]:
        expected = f"a name of at most {people.NAME_LENGTH} characters and one of the roles {roles}"
        raise UsageError("reviewer", expected=expected, got=f"{new.name[:80]!r} as {new.role!r}")
    if not any(ADDRESS.fullmatch(one) for one in new.identities):
        do = "name the address this person writes commits with: nobody votes on her own work, or twice"
        raise UsageError("--email", expected="an e-mail address", got=list(new.identities) or "none", do=do)
    return new


def _rehearse(plan: ReleasePlan, arm: Arm, rollout: Rollout, at: datetime) -> None:
    """Does what a yes would do, without votes and without writing: what fails here fails before anybody is asked."""
    said = "rehearsal"
    transitions.start_rollout(plan, arm, rollout, said, lifts_freeze=plan.frozen, at=at, actor=said, reason=said)


def _subject(asked: Asked, plan: ReleasePlan, candidate: Candidate, proof: Evidence, rollout: Rollout) -> BallotSubject:
    return msgspec.structs.replace(
        _nothing(asked, plan.revision),
        artifact=candidate.artifact.content,
        evidence=proof.digest,
        rollout=rollout.digest,
        config=candidate.config_digest,
        feature=candidate.features.version.content,
        names_freeze=plan.frozen,
    )


def _nothing(asked: Asked, base: int) -> BallotSubject:
    """The subject of a verb that concerns no artifact."""
    return BallotSubject(
        ballot="",
        model=asked.model,
        verb=asked.verb,
        artifact="",
        evidence="",
        rollout="",
        config="",
        feature="",
        base_revision=base,
        names_freeze=False,
        detail=asked.detail,
    )


def _question(config: Config, asked: Asked, at: datetime, subject: BallotSubject, page: str) -> Question:
    rules = config.defaults.approval
    return Question(
        subject=subject,
        page=page,
        required_roles=rules.roles[asked.verb],
        max_attempts=rules.max_attempts,
        lock_seconds=rules.lock_seconds,
        opened_by=asked.opened_by,
        opened_at=at,
        expires_at=at + timedelta(seconds=rules.expires_seconds),
    )
