"""What a check of ours can tell for the quarterly review: each looks at the house as it is and says yes or no, with the reason.

Reads the ledger, the public keys, the configuration and the pages beside the source tree; writes nothing. Run each day by
`tasks.review`. The names are those of `check` in configs/compliance.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from checks.ballots import verify_approval
from configs.schema import Check, Config, Settings
from errors import AdmissionRefused, TamperError
from records import Arm, ReleasePlan
from stores.ledger import bias, plans
from stores.ledger.engine import Ledger
from stores.vault import Vault, Verifier
from tasks.operate import opened, verify_audit
from tasks.provenance import ROOT
from tasks.quoted import FAILURES, quoted

BUNDLED = "data://"
AUDITED_WITHIN = timedelta(days=14)  # the audit is weekly: one may be missed
NOTICES = ("LICENCE", "LICENSE")


class Proof(NamedTuple):
    """What a check says. A good one says the same each day, so that only a change is written."""

    good: bool
    said: str


@dataclass(frozen=True)
class House:
    """What the checks look at."""

    settings: Settings
    config: Config
    ledger: Ledger
    ring: Verifier
    at: datetime
    root: Path = ROOT  # of the source tree, with docs and data


@contextmanager
def house(settings: Settings, config: Config, at: datetime) -> Iterator[House]:
    """The house as a reader sees it at a moment."""
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        yield House(settings, config, ledger, ring, at)


def audit_chain(house: House) -> Proof:
    """The whole audit log, and what is proved by it."""
    try:
        verify_audit(house.settings)
    except TamperError as error:
        return Proof(False, str(error))
    return Proof(True, "the chain and the rows that it tells of are what was written")


def owners(house: House) -> Proof:
    """What serves has a configuration with two owners; two spellings of one address are one owner."""
    found = []
    for model in plans.models(house.ledger):
        recipe = house.config.models.get(model)
        people = {owner.strip().casefold() for owner in recipe.owners} if recipe else set()
        if len(people) < 2:
            found.append(f"{model}: {len(people)} owners" if recipe else f"{model} serves and has no configuration")
    return _proof(found, "each has two owners or more")


def approvals(house: House) -> Proof:
    """Each version in a current plan, as a replica would ask before it loads it."""
    found = []
    for model in plans.models(house.ledger):
        signed = plans.current(house.ledger, model)
        try:
            plan = plans.verify(signed, house.ring) if signed else None
            for arm in _arms(plan):
                verify_approval(
                    arm, house.ring.verify, model=model, roles=house.config.defaults.approval.roles["promote"]
                )
        except (AdmissionRefused, TamperError) as error:
            found.append(f"{model}: {error}")
    return _proof(found, "each was approved by all required roles")


def failure_modes(house: House) -> Proof:
    """docs/models/NAME.md with something under the heading that model cards quote."""
    docs = house.root / "docs" / "models"
    enabled = sorted(name for name, recipe in house.config.models.items() if recipe.enabled)
    said = {name: quoted(name, docs) for name in enabled}
    found = [f"{name}: {why or 'nothing is written'}" for name, (there, why) in said.items() if not there.get(FAILURES)]
    return _proof(found, "each has such a page")


def bias_audited(house: House) -> Proof:
    """Everything that has served for that long was audited lately. One that looked at nobody is no audit."""
    since, found = house.at - AUDITED_WITHIN, []
    for name, recipe in sorted(house.config.models.items()):
        releases = plans.releases(house.ledger, name) if recipe.enabled else []
        audits = [one for one in bias.audits(house.ledger, name) if one.found_at <= house.at]
        looked = [one for one in audits if one.subjects]
        if releases and releases[0].at < since and (not looked or looked[-1].found_at < since):
            last = f"{name}: last audited {looked[-1].found_at:%Y-%m-%d}" if looked else f"{name}: never audited"
            blind = bool(audits) and not audits[-1].subjects
            found.append(f"{last}, the newest audit could look at nobody" if blind else last)
    return _proof(found, "everything that serves was")


def licences(house: House) -> Proof:
    """Each dataset says its licence; one that is bundled has the notice in its folder."""
    found = []
    for name, dataset in sorted(house.config.datasets.items()):
        if not dataset.licence.strip():
            found.append(f"{name}: no licence is said")
        uri = dataset.source.uri or ""
        folder = (house.root / "data" / uri.removeprefix(BUNDLED)).parent
        if uri.startswith(BUNDLED) and not any((folder / notice).is_file() for notice in NOTICES):
            found.append(f"{name}: no notice beside the bundled file")
    return _proof(found, "each says its licence")


CHECKS: Mapping[Check, Callable[[House], Proof]] = {
    "audit_chain": audit_chain,
    "owners": owners,
    "approvals": approvals,
    "failure_modes": failure_modes,
    "bias_audited": bias_audited,
    "licences": licences,
}


def _arms(plan: ReleasePlan | None) -> list[Arm]:
    arms = (plan.champion, plan.previous, plan.canary, plan.control) if plan else ()
    return [arm for arm in arms if arm is not None and not arm.is_rules]


def _proof(found: list[str], good: str) -> Proof:
    return Proof(not found, "; ".join(found) or good)
