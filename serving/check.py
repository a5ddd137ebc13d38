"""`grownet serve --check CANDIDATE`: loads a candidate as production would, answers its example, measures, prints JSON.

Reads ledger and artifact store, writes nothing, opens no port. Started by validation as a process of its own, before
anybody votes: votes and evidence are the only things admission asks for that are not asked for here.

    {"ok": true, "reason": "...", "latency_p50_ms": 0.4, "latency_p99_ms": 0.9, "size_bytes": 123456}
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

import msgspec
import numpy as np

from configs import load as loading
from configs.schema import Config, Settings
from errors import GrownetError, NotFound
from models import contract
from records import Arm, Artifact, Record
from serving.admission import Door, alone, load
from serving.answer import answer
from serving.view import Loaded
from stores.artifacts import Artifacts
from stores.ledger import evidence
from stores.ledger.engine import Ledger
from stores.vault import Vault

CALLS, MOST_SECONDS = 1000, 5.0


class Checked(Record, frozen=True, kw_only=True):
    """What was found. Latencies are those of one request, from the typed request to the decision, in milliseconds."""

    ok: bool
    reason: str
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    size_bytes: int = 0


class Straight:
    """The artifact store without a cache."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def plaintext(self, artifact: Artifact) -> bytes:
        return self._artifacts.get(artifact)

    def document(self, digest: str) -> bytes:
        return self._artifacts.document(digest)


def check(settings: Settings, config: Config, candidate: str) -> Checked:
    """Loads and measures a candidate.

    Raises:
        AdmissionRefused: when it would not be loaded in production, saying why.
        NotFound: for an unknown candidate, or one whose bytes are gone.
        LedgerError, StackError: when ledger or store are away.
    """
    ledger = Ledger.open(settings.ledger_url, "reader", demo=settings.demo, create=False)
    try:
        found = evidence.candidate(ledger, candidate)
    finally:
        ledger.close()
    if found.model not in config.models:
        raise NotFound(f"configuration of {found.model}", do=f"add configs/{found.model}.yaml")
    vault = Vault.open(settings.home, "train", settings.kms_key_uri)
    door = Door(
        name=found.model,
        model=contract.find(found.model),
        store=Straight(Artifacts(settings.artifacts_uri, vault.encrypt, vault.decrypt)),
        verify=vault.verifier.verify,
        roles=config.defaults.approval.roles["promote"],
        waiting=1,
        waiting_beside=1,
    )
    arm = Arm(
        number=found.number,
        name=found.versions.model.name,
        artifact=found.artifact,
        features=found.features,
        versions=found.versions,
        config=found.config_digest,
    )
    p50, p99, calls = _measured(arm, door, load(arm, door))
    return Checked(
        ok=True,
        reason=f"{arm.name} loads, answers its example as in training, and answered {calls} more requests",
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        size_bytes=found.artifact.size_bytes,
    )


def _measured(arm: Arm, door: Door, loaded: Loaded) -> tuple[float, float, int]:
    """Median and 99th percentile of single requests in milliseconds, and how many there were."""
    view, requests = alone(arm, door.model, loaded), door.model.example()
    seconds: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    for request in itertools.islice(itertools.cycle(requests), CALLS):
        begun = time.perf_counter()
        answer(view, loaded, [request])
        seconds.append(time.perf_counter() - begun)
        if begun > end:
            break
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return round(float(p50) * 1e3, 4), round(float(p99) * 1e3, 4), len(seconds)


def main(arguments: list[str]) -> int:
    """Prints what was found as one JSON document; the exit code is 0, or that of the error."""
    facts: Any
    try:
        settings = loading.settings()
        facts, code = check(settings, loading.load(settings.configs), arguments[0]), 0
    except GrownetError as error:
        facts, code = Checked(ok=False, reason=str(error)), error.exit_code
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
