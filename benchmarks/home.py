"""A ledger of every role, a vault of every holder and three reviewers who vote, below one folder.

Made without Prefect and MLflow; what `benchmarks.stand` and the tests' worlds are built on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from records import BallotSubject, Decision, Rollout, RolloutGates, Step, Vote
from stores.ledger import ballots, people, votes
from stores.ledger.engine import Ledger
from stores.ledger.tables import Role
from stores.vault import Signer, Vault, totp_secret

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # when people asked and voted
ROLES = ("data_science_lead", "privacy_officer", "dev_ops")
REVIEWERS = dict(zip(("ada", "ben", "cleo"), ROLES, strict=True))
GATES = RolloutGates(
    kpi="hit",
    margin_fail=0.05,
    margin_pass=0.05,
    alpha=0.05,
    max_error_rate=0.01,
    max_late_rate=0.05,
    min_requests=50,
    missing_seconds=60,
    attribution_seconds=0,
)
STEPS = tuple(Step(percent=percent, min_seconds=0, min_answers=0) for percent in (0.0, 50.0, 100.0))


class Ledgers(dict[Role, Ledger]):
    """A ledger of each role, opened when it is first asked for."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def __missing__(self, role: Role) -> Ledger:
        self[role] = Ledger.open(self._url, role)
        return self[role]


class Home:
    """A ledger of every role, a vault of every holder and three reviewers who vote, below one folder."""

    rollout = Rollout(steps=STEPS, gates=GATES, control_percent=20.0)

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/ledger.db"
        self.ledgers = Ledgers(self.url)
        self.release = self.ledgers["release"]
        self.secrets: dict[str, str] = {}
        self._steps = 10 * len(ballots.ballots(self.release))  # a home opened again spends other codes

    def asked_at(self) -> datetime:
        """When people ask: at a fixed time, unless a guard that looks at the clock runs beside."""
        return NOON

    def cast_at(self) -> datetime:
        """When the next vote is cast."""
        return NOON + timedelta(seconds=self._steps)

    def signer(self, holder: str) -> Signer:
        return Vault.open(self.folder, holder).signer

    def enrol(self, people_to_enrol: dict[str, str] | None = None) -> None:
        vault = Vault.open(self.folder, "release")
        for name, role in (people_to_enrol or REVIEWERS).items():
            self.secrets[name] = totp_secret()
            sealed = vault.seal_code(name, self.secrets[name])
            one = people.Reviewer(name=name, role=role, secret=sealed, enrolled_by="bootstrap", at=NOON)
            people.add_reviewer(self.release, one, "release")

    def ask(
        self, about: BallotSubject, *, roles: Sequence[str] = ROLES, barred: tuple[str, ...] = ()
    ) -> ballots.Ballot:
        now = self.asked_at()
        question = ballots.Question(
            subject=about,
            rollout=self.rollout,
            page=f"# {about.model}",
            required_roles=tuple(roles),
            barred=barred,
            opened_by="release",
            opened_at=now,
            expires_at=now + timedelta(hours=1),
        )
        return ballots.open_ballot(self.release, question)

    def cast(
        self, asked: ballots.Ballot, reviewer: str, decision: Decision = "yes", *, step: int = 0
    ) -> ballots.Ballot:
        self._steps += 1
        vote = Vote(
            ballot=asked.id,
            subject=asked.subject.digest,
            reviewer=reviewer,
            role=REVIEWERS.get(reviewer, "dev_ops"),
            decision=decision,
            reason="looked at it",
            cast_at=self.cast_at(),
        )
        return votes.record_vote(self.release, vote, step or self._steps, signer=self.signer("release"))

    def close(self) -> None:
        for ledger in self.ledgers.values():
            ledger.close()
