"""The door to production. A plan is believed when it is signed, newer and of the same history. An arm is loaded when
hash, versions, evidence and votes are all there and belong together, and its example gives the answers of training.

Reads the bundle, the feature snapshot and the evidence document; writes nothing. Called by the plan follower, and
without evidence and votes by `serving.check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from checks.ballots import Verify, verify_approval
from errors import AdmissionRefused, TamperError
from models.contract import Decided, Model
from records import Arm, Artifact, Evidence, ReleasePlan, SignedPlan
from serving.answer import answer
from serving.mapped import mapped
from serving.runner import BESIDE_SHARE, Failure, Runner, attempt
from serving.view import Loaded, View
from stores.artifacts import Bundle
from stores.ledger import plans
from stores.ledger.signing import Ring

LIVE_THREADS, BESIDE_THREADS = 2, 1
RELATIVE, ABSOLUTE = 1e-4, 1e-6  # another processor sums in another order


class Store(Protocol):
    """Where bytes come from: `serving.cache.Cache`, which checks their digests."""

    def plaintext(self, artifact: Artifact) -> bytes: ...
    def document(self, digest: str) -> bytes: ...


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """What admission to one model needs besides the arm."""

    name: str  # of the model
    model: Model
    store: Store
    verify: Verify  # of the public ring
    roles: tuple[str, ...]  # whose yes this house requires for a promotion
    waiting: int  # requests that may wait for the arm
    waiting_beside: int  # scores off the path that may wait


def believe(
    signed: SignedPlan, model: str, ring: Ring, seen: ReleasePlan | None, descends: Callable[[str], bool]
) -> ReleasePlan:
    """The plan, when it may replace the one seen before.

    Args:
        seen: the plan with the highest revision this replica has ever believed.
        descends: whether the ledger's history has an audit entry of this hash.

    Raises:
        AdmissionRefused: for a wrong signature, an older revision, and a ledger with another history.
    """
    try:
        plan = plans.verify(signed, ring)
    except (TamperError, msgspec.DecodeError) as error:
        raise AdmissionRefused(f"release plan of {model}", expected="a signed plan", got=str(error)) from error
    if plan.model != model:
        raise AdmissionRefused("release plan", expected=f"one of {model}", got=f"one of {plan.model}")
    if seen is not None and plan.revision <= seen.revision:
        raise AdmissionRefused(
            f"release plan of {model}",
            expected=f"a revision above {seen.revision}, which was seen",
            got=f"another plan of revision {plan.revision}",
            do="the ledger went back: restore it from its newest backup",
        )
    for head in (plan.audit_head, seen.audit_head if seen else ""):
        if not descends(head):
            raise AdmissionRefused(
                f"release plan of {model}",
                expected=f"a ledger with audit entry {head[:12]}",
                got="one without it",
                do="this is another ledger, or one that was cut: run `grownet audit verify` on it",
            )
    return plan


def admit(arm: Arm, door: Door) -> Loaded:
    """Loads an arm that may serve.

    Raises:
        AdmissionRefused: saying what is missing or does not fit.
        NotFound, StackError: when the store does not have it or is away: worth another try.
    """
    prove(arm, door)
    return load(arm, door)


def prove(arm: Arm, door: Door) -> None:
    """Checks what stands behind an arm without loading it: its parts, its ballot, its evidence. Raises as `admit`."""
    artifact, _ = _complete(arm, door.name)
    if not arm.evidence:
        raise AdmissionRefused(f"{arm.name}: evidence", expected="a digest", got="none", do="validate it first")
    verify_approval(arm, door.verify, model=door.name, roles=door.roles)
    try:
        evidence = Evidence.from_json(door.store.document(arm.evidence))
    except (TamperError, msgspec.DecodeError) as error:
        raise AdmissionRefused(f"{arm.name}: evidence", expected=arm.evidence, got=str(error)) from error
    _same(arm, "artifact of the evidence", artifact.content, evidence.artifact)
    _same(arm, "model of the evidence", door.name, evidence.model)
    if not evidence.passed:
        raise AdmissionRefused(f"{arm.name}: gates", expected="all passed", got=evidence.reason or "no gates")


def load(arm: Arm, door: Door) -> Loaded:
    """Loads and warms an arm whose bytes, manifest and example are right; evidence and votes are not asked for here.
    Raises as `admit`."""
    artifact, snapshot = _complete(arm, door.name)
    try:
        bundle = Bundle.unpack(door.store.plaintext(artifact))
        features = door.store.plaintext(snapshot)
    except TamperError as error:
        raise AdmissionRefused(f"{arm.name}: artifact", expected=error.expected, got=error.got, do=error.do) from error
    manifest = bundle.manifest
    _same(arm, "model", (door.name, arm.number, arm.name), (manifest.model, manifest.number, manifest.name))
    _same(arm, "versions", arm.versions, manifest.versions)
    _same(arm, "configuration", arm.config, manifest.config_digest)
    _same(arm, "features", arm.features, manifest.features)
    loaded = attempt(lambda: _built(artifact.content, door, bundle, features), f"loading {arm.name}")
    if not isinstance(loaded, Loaded):
        raise AdmissionRefused(f"{arm.name}: loading", expected="a model that loads", got=_reason(loaded))
    _compare(arm, door.model, loaded, bundle)
    return loaded


def _built(content: str, door: Door, bundle: Bundle, features: bytes) -> Loaded:
    manifest, model = bundle.manifest, door.model
    return Loaded(
        number=manifest.number,
        name=manifest.name,
        content=content,
        fitted=model.load(bundle.model),
        index=model.index(mapped(features, f"features of {manifest.name}")),
        features=manifest.features,
        policy=msgspec.convert(manifest.policy, model.Policy),
        manifest=manifest,
        live=Runner(f"{manifest.name}-live", LIVE_THREADS, door.waiting),
        beside=Runner(f"{manifest.name}-beside", BESIDE_THREADS, door.waiting_beside, BESIDE_SHARE),
    )


def _compare(arm: Arm, model: Model, loaded: Loaded, bundle: Bundle) -> None:
    """Answers the example, one by one and together, and compares with what training wrote down; this also warms it."""
    requests, expected = example(arm, model, bundle)
    view = alone(arm, model, loaded)
    for given in (_given(view, loaded, [[one] for one in requests]), _given(view, loaded, [requests])):
        if not isinstance(given, list):
            raise AdmissionRefused(f"{arm.name}: example", expected="answers", got=_reason(given))
        for at, (one, other) in enumerate(zip(given, expected, strict=True)):
            if not _close(one, other):
                raise AdmissionRefused(
                    f"{arm.name}: example {at}",
                    expected=str(other)[:300],
                    got=str(one)[:300],
                    do="it does not answer here as it did in training: compare code and library versions",
                )


def example(arm: Arm, model: Model, bundle: Bundle) -> tuple[list[Any], list[Decided]]:
    """The bundle's requests and the decisions training wrote down for them.

    Raises:
        AdmissionRefused: when there are none, or they cannot be read.
    """
    try:
        requests = msgspec.json.Decoder(list[model.Request]).decode(bundle.example)  # type: ignore[name-defined]  # a type known at run time
        expected = msgspec.json.decode(bundle.expected, type=list[Decided])
    except msgspec.DecodeError as error:
        raise AdmissionRefused(f"{arm.name}: example", expected="requests and decisions", got=str(error)) from error
    if not requests or len(requests) != len(expected):
        got = f"{len(requests)} requests and {len(expected)} decisions"
        raise AdmissionRefused(f"{arm.name}: example", expected="some requests, each with a decision", got=got)
    return requests, expected


def alone(arm: Arm, model: Model, loaded: Loaded) -> View:
    """A view in which this arm is the champion and nobody else is there."""
    plan = ReleasePlan(
        model=loaded.manifest.model,
        revision=0,
        mode="model",
        champion=arm,
        reason="its example",
        actor="admission",
        created_at=loaded.manifest.trained_until,
    )
    return View(model=model, plan=plan, policy=loaded.policy, loaded={loaded.content: loaded})


def _given(view: View, loaded: Loaded, batches: list[list[Any]]) -> Any:
    return attempt(lambda: [one for batch in batches for one in answer(view, loaded, batch)], loaded.name)


def _complete(arm: Arm, name: str) -> tuple[Artifact, Artifact]:
    """The artifact and the feature snapshot of an arm that has all its parts and is called what it is."""
    parts = {"artifact": arm.artifact, "features": arm.features, "versions": arm.versions, "config": arm.config}
    absent = [part for part, value in parts.items() if not value]
    if arm.versions is not None:
        four = {kind: getattr(arm.versions, kind) for kind in ("data", "feature", "model", "pipeline")}
        absent += [f"{kind} version" for kind, version in four.items() if not (version.name and version.content)]
    if absent or arm.artifact is None or arm.features is None or arm.versions is None:
        raise AdmissionRefused(f"{name}: arm {arm.name!r}", expected="all its parts", got=f"no {', '.join(absent)}")
    _same(arm, "name", f"{name}-v{arm.number}", arm.name)
    _same(arm, "model version", (arm.name, arm.number), (arm.versions.model.name, arm.versions.model.number))
    _same(arm, "feature version", arm.versions.feature, arm.features.version)
    return arm.artifact, Artifact(uri=arm.features.uri, content=arm.features.content, size_bytes=0)


def _same(arm: Arm, what: str, expected: Any, got: Any) -> None:
    if expected != got:
        raise AdmissionRefused(f"{arm.name}: {what}", expected=str(expected)[:300], got=str(got)[:300])


def _close(one: Decided, other: Decided) -> bool:
    same = (one.items, one.overruled, len(one.scores)) == (other.items, other.overruled, len(other.scores))
    numbers = [*zip(one.scores, other.scores, strict=False), (one.value or 0.0, other.value or 0.0)]
    return same and all(math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) for a, b in numbers)


def _reason(result: Any) -> str:
    return result.reason if isinstance(result, Failure) else str(result)
