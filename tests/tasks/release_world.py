"""A home on which a release can really be asked for: ledger, vault, an operator, reviewers, stored artifacts, evidence.

`House(folder)`; `house.candidate(1)` stores and saves a version that passed its gates; `house.board()` is the release
flow's seat; `house.code("ada", at)` is what her authenticator shows.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pyotp
import yaml
from msgspec.structs import replace

from configs.load import HERE, config_digest, load, settings
from records import Candidate, Evidence, Gate, Outcome, utc_now
from stack.processes import Stack
from stack.up import deploy, pipeline_version
from stores.artifacts import Artifacts
from stores.ledger import evidence, people
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from stores.vault import Vault, totp_secret
from tasks import board, counting
from tasks.approve import enroll
from tasks.operate import add_operator
from tasks.questions import Asked, Board, seated
from tasks.runs import Typed
from tests.stores.ledger.world import MODEL, REVIEWERS, arm

AUTHOR = "Grace Writer <grace@example.org>"


def configured(folder: Path, **approval: object) -> Path:
    """The house's own configuration in a folder, with other approval rules."""
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True)
    path = folder / "defaults.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["approval"] |= approval
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder


class House:
    def __init__(self, folder: Path, **approval: object) -> None:
        configs = configured(folder / "configs", backoff_seconds=0.01, **approval)
        self.settings = settings({"GROWNET_HOME": str(folder / "home"), "GROWNET_CONFIGS": str(configs)})
        self.config = load(configs)
        self.secrets: dict[str, str] = {}
        self.operator("olga")

    def copy(self, folder: Path) -> House:
        """The same home somewhere else: quicker than making keys and people anew."""
        twin = copy.copy(self)
        shutil.copytree(self.settings.home, folder / "home")
        twin.settings = settings({"GROWNET_HOME": str(folder / "home"), "GROWNET_CONFIGS": str(self.settings.configs)})
        twin.secrets = dict(self.secrets)
        return twin

    def operator(self, name: str) -> None:
        """An operator, whose authenticator shows `code("operator:NAME", at)`."""
        self.secrets[f"operator:{name}"] = add_operator(self.settings, name)["secret"]

    def enrol(self, name: str, role: str, email: str = "") -> None:
        facts = enroll(
            self.settings, self.config, name=name, role=role, email=email or f"{name}@example.org", actor="olga"
        )
        self.secrets[name] = facts["secret"]

    def enrol_all(self) -> None:
        for name, role in REVIEWERS.items():
            self.enrol(name, role, f"{name}@example.org")

    def newcomers(self, suffix: str) -> list[str]:
        """One more person of each role, none of whose codes is spent; as ballots over them would have enrolled them."""
        with self.board() as seats:
            for name, role in REVIEWERS.items():
                self.secrets[name + suffix] = totp_secret()
                sealed = seats.vault.seal_code(name + suffix, self.secrets[name + suffix])
                new = people.Reviewer(name=name + suffix, role=role, secret=sealed, enrolled_by="ballot", at=utc_now())
                people.add_reviewer(seats.ledger, new, "release")
        return [name + suffix for name in REVIEWERS]

    def code(self, name: str, at: datetime, steps: int = 0) -> str:
        return str(pyotp.TOTP(self.secrets[name]).at(at + timedelta(seconds=30 * steps)))

    @contextmanager
    def board(self) -> Iterator[Board]:
        with seated(self.settings, self.config) as seats:
            yield seats

    def candidate(self, number: int, *, authors: tuple[str, ...] = (AUTHOR,), passed: bool = True) -> Candidate:
        """A version whose artifact and features are really stored, with the evidence about it."""
        vault = Vault.open(self.settings.home, "train")
        store = Artifacts(self.settings.artifacts_uri, vault.encrypt, vault.decrypt)
        like = arm(number)
        assert like.features is not None
        assert like.versions is not None
        features = store.put(b"features %d" % number)
        made = Candidate(
            id=f"{MODEL}-{number}-test",
            model=MODEL,
            number=number,
            artifact=store.put(b"artifact %d" % number),
            features=replace(like.features, uri=features.uri, content=features.content),
            versions=like.versions,
            config_digest=config_digest(self.config, MODEL),
            commit="0" * 40,
            authors=authors,
            run_id="",
            reason="a test of releases",
            created_at=utc_now(),
            trained_until=utc_now() - timedelta(days=28),
        )
        ledger = Ledger.open(self.settings.ledger_url, "flow")
        evidence.save_candidate(ledger, made)
        ledger.close()
        self.prove(made, passed=passed)
        return made

    def prove(self, candidate: Candidate, *, passed: bool = True) -> Evidence:
        """Evidence about a candidate; each call adds a newer one."""
        outcome: Outcome = "pass" if passed else "fail"
        gates = tuple(
            Gate(name=name, outcome=outcome, reason=reason, figures={"worst_gap": 0.04, "limit": 0.5})
            for name, reason in (
                ("champion", "against rules +0.0400 [+0.0200, +0.0600] over 900 subjects; the interval is above 0"),
                ("bias", "the widest gap is 4 % (country Germany), allowed 50 %"),
                ("drift", "largest PSI 0.06 (quantity), allowed 0.25"),
            )
        )
        found = Evidence(
            candidate=candidate.id,
            model=MODEL,
            artifact=candidate.artifact.content,
            gates=gates,
            metrics={"ndcg": 0.18, "champion.ndcg": 0.14, "ndcg - champion": 0.04, "subjects": 900.0},
            intervals={"ndcg": (0.17, 0.19), "champion.ndcg": (0.13, 0.15), "ndcg - champion": (0.02, 0.06)},
            created_at=utc_now(),
        )
        ledger = Ledger.open(self.settings.ledger_url, "flow")
        evidence.save_evidence(ledger, found)
        ledger.close()
        return found


@contextmanager
def running(house: House) -> Iterator[Stack]:
    """Prefect with a worker and the deployments, on this home; the house's settings know their addresses then."""
    with Stack(house.settings) as stack:
        stack.start("prefect")
        house.settings = stack.settings
        stack.start("worker")
        deploy(stack.settings, pipeline_version(stack.settings))
        yield stack


def promote(candidate: Candidate, run: str = "run-1") -> Asked:
    return Asked(model=MODEL, verb="promote", candidate=candidate.id, run=run)


def typed(house: House, name: str, at: datetime, decision: str = "yes", **other: str) -> Typed:
    """A form as `name` fills it in at a moment, with the right code unless another is given."""
    code = house.code(name, at) if name in house.secrets else "123456"
    form = {"reviewer": name, "decision": decision, "reason": "looked at it", "code": code}
    return Typed(values=form | other, at=at)


def vote(house: House, seats: Board, found: Ballot, name: str, decision: str = "yes") -> counting.Counted:
    return counting.count(seats, found, typed(house, name, utc_now(), decision))


def approved(house: House, seats: Board, asked: Asked) -> Ballot:
    """A ballot that everybody said yes to."""
    found = board.ask(seats, asked)
    for name in REVIEWERS:
        assert vote(house, seats, found, name).vote
    return board.ask(seats, asked)
