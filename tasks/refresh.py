"""Builds the features of what serves anew, from the rows that came since: the same `build`, each version's own parameters.

Reads the plan, the bundles, the lake as it is now; writes encrypted Parquet to the artifact store and a signed row to the
ledger, which replicas follow. Started hourly by the flow `refresh`, or by `grownet refresh MODEL`. The same versions of the
lake write nothing. What may not be published is told to the owner of Feature once, and what serves goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

import msgspec

from checks import freshness
from checks.alerts import alert
from configs.load import recipe_of
from configs.schema import Config, ModelConfig, Settings
from errors import DataError, GrownetError, LedgerUnavailable, StackError, UsageError
from models.contract import feature_digest, find
from records import AlertBody, Arm, FeatureSet, Record, Refreshed, Snapshot, digest_of, utc_now
from stores.artifacts import Artifacts, parquet, unparquet
from stores.ledger import outbox, plans, snapshots
from stores.ledger.engine import Ledger
from stores.vault import Signer, Vault
from tasks.eyes import ODD
from tasks.features import check_features, history, newest
from tasks.ingest import newest_snapshot
from tasks.operate import opened
from tasks.snapshot_facts import in_use
from tasks.threads import limited
from tasks.trial import INSTANT, Trial

ACTOR = "refresh"
AHEAD = timedelta(hours=1)  # how far a source's clock may be ahead of ours
Result = Literal["published", "unchanged", "refused"]


class Renewal(Record, frozen=True, kw_only=True):
    """What came of one version."""

    model: str
    name: str  # "recommendation-v2"
    arms: tuple[str, ...]  # in which it serves, or stands ready
    result: Result
    reason: str
    refresh: int  # number of the newest snapshot; 0 is that of training
    as_of: datetime  # of it
    rows: int  # of it


@dataclass(frozen=True)
class Bench:
    """What the versions of a model share in one run."""

    settings: Settings
    config: Config
    recipe: ModelConfig
    ledger: Ledger
    artifacts: Artifacts
    signer: Signer
    lake: tuple[Snapshot, ...]  # the newest version of each table
    built: dict[str, bytes] = field(default_factory=dict)  # Parquet by parameters: versions may share them

    @cached_property
    def trial(self) -> Trial:
        """The model on its tables; read when something is to be built."""
        return history(self.settings, self.config, self.recipe.name, self.lake)


def refresh(settings: Settings, config: Config, model: str) -> list[Renewal]:
    """Refreshes every version of a model that the plan names; none before the first release.

    Raises:
        NotFound, UsageError: for a model that is not there, or switched off.
        TamperError: for a plan that is not signed.
        LedgerUnavailable, StackError: worth another try.
    """
    recipe, vault = recipe_of(config, model), Vault.open(settings.home, ACTOR, settings.kms_key_uri)
    with opened(settings, "flow") as ledger:
        signed = plans.current(ledger, model)
        wanted = in_use(plans.verify(signed, vault.verifier)) if signed else {}
        if not wanted:
            return []
        tables = sorted({config.datasets[dataset].table for dataset in recipe.tables.values()})
        lake = tuple(newest_snapshot(settings, table) for table in tables)
        store = Artifacts(settings.artifacts_uri, vault.encrypt, vault.decrypt)
        bench = Bench(settings, config, recipe, ledger, store, vault.signer, lake)
        known = snapshots.newest(ledger, wanted)
        return [_renewed(bench, arm, names, known.get(content)) for content, (arm, names) in wanted.items()]


def _renewed(bench: Bench, arm: Arm, names: tuple[str, ...], last: Refreshed | None) -> Renewal:
    """What comes of one version; a refusal keeps no other from being refreshed."""
    assert arm.artifact is not None  # in_use gives no other
    assert arm.features is not None  # an arm that serves has them
    before = last.features if last else arm.features
    said: tuple[Result, str]
    try:
        if before.snapshots != bench.lake:
            new = _published(bench, arm, arm.features, last)
            if new is None:
                return _told(arm, names, ("unchanged", "another run was faster; the next one looks again"), last)
            return _told(arm, names, ("published", f"from {_versions(new.features)}"), new)
        said = "unchanged", f"the newest rows are in it: {_versions(before)}"
    except (LedgerUnavailable, StackError):
        raise
    except ODD as error:
        said = "refused", _reason(error)
        _alert(bench, arm, before, error)
    return _told(arm, names, said, last)


def _published(bench: Bench, arm: Arm, training: FeatureSet, last: Refreshed | None) -> Refreshed | None:
    """Builds, checks, stores and records.

    Raises:
        UsageError: for a version that this code builds no features for.
        DataError, ModelError, TamperError: for rows, a bundle or features that are not as they should be.
    """
    assert arm.artifact is not None
    before = last.features if last else training
    _refuse_other_code(arm, training, bench.lake)
    as_of, now = newest(bench.lake) + INSTANT, utc_now()
    if as_of < before.as_of:
        raise DataError("lake", expected=f"rows up to {before.as_of}, as the last features had", got=f"up to {as_of}")
    if as_of > now + AHEAD:  # published once it could not be taken back: no replica goes to an earlier time again
        raise DataError("lake", expected="rows up to now", got=f"up to {as_of}, at {now:%Y-%m-%d %H:%M} UTC")
    data = _built(bench, arm.artifact.content, as_of)
    frame, thing = unparquet(data, f"features of {arm.name}"), bench.recipe.name
    check_features(thing, frame, find(thing).FEATURES)
    freshness.refuse_unlike(thing, frame, bench.artifacts.frame(training))
    freshness.refuse_collapsed(thing, len(frame), (training.rows, before.rows), bench.recipe.refresh.min_rows_share)
    stored = bench.artifacts.put(data)
    features = msgspec.structs.replace(
        training, as_of=as_of, uri=stored.uri, content=stored.content, rows=len(frame), snapshots=bench.lake
    )
    return snapshots.publish(
        bench.ledger,
        arm.artifact.content,
        features,
        signer=bench.signer,
        at=utc_now(),
        actor=ACTOR,
        after=last.number if last else 0,
    )


def _refuse_other_code(arm: Arm, training: FeatureSet, lake: tuple[Snapshot, ...]) -> None:
    """A version must go on with features of its own definitions, from its own tables."""
    digest = feature_digest(find(training.model))
    if training.version.content != digest:
        raise UsageError(
            f"features of {arm.name}",
            expected=f"code of {training.version.name} ({training.version.content[:12]})",
            got=f"other code ({digest[:12]})",
            do="its features stay as they are and get older; train a version with the code of today",
        )
    own, now = ([one.table for one in found] for found in (training.snapshots, lake))
    if own != now:
        raise UsageError(
            f"features of {arm.name}", expected=f"the tables {own}", got=f"{now}", do="train a new version"
        )


def _built(bench: Bench, artifact: str, as_of: datetime) -> bytes:
    """The features as Parquet, by the version's own parameters."""
    given = bench.artifacts.bundle(artifact).manifest.params
    key = digest_of(given)
    if key not in bench.built:
        trial = replace(bench.trial, params=msgspec.convert(given, bench.trial.model.Params))
        with limited(bench.settings.threads):
            bench.built[key] = parquet(trial.features(as_of))
    return bench.built[key]


def _told(
    arm: Arm,
    names: tuple[str, ...],
    said: tuple[Result, str],
    serves: Refreshed | None,
) -> Renewal:
    features = serves.features if serves else arm.features
    assert features is not None
    return Renewal(
        model=features.model,
        name=arm.name,
        arms=names,
        result=said[0],
        reason=said[1],
        refresh=serves.number if serves else 0,
        as_of=features.as_of,
        rows=features.rows,
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, GrownetError) else repr(error)


def _alert(bench: Bench, arm: Arm, before: FeatureSet, error: Exception) -> None:
    """Once for each version and what is wrong, while the same features serve: an hourly schedule does not say it hourly.

    What came instead is another figure with each batch, so it does not count.
    """
    reason, about = _reason(error), [error.thing, error.expected] if isinstance(error, GrownetError) else []
    body = AlertBody(
        what=f"The features of {arm.name} were not refreshed. {reason}",
        evidence={"version": arm.name, "as of": before.as_of.isoformat(), "lake": _versions_of(bench.lake)},
        done=f"nothing was published; it goes on with features as of {before.as_of:%Y-%m-%d %H:%M} UTC",
        owner=bench.config.defaults.owners.feature,
        next=f"Mend what is named, or train a version that fits; then `grownet refresh {before.model}`.",
        link=f"grownet refresh {before.model}",
    )
    event = alert(
        key=[arm.name, before.content, type(error).__name__, *about, "refresh"],
        level="warning",
        model=before.model,
        title=f"features of {arm.name} are not refreshed",
        body=body,
        at=utc_now(),
    )
    outbox.add(bench.ledger, [event], ACTOR)


def _versions(features: FeatureSet) -> str:
    return _versions_of(features.snapshots)


def _versions_of(found: tuple[Snapshot, ...]) -> str:
    return ", ".join(f"{one.table} {one.version.name}" for one in found)


def describe(found: list[Renewal]) -> str:
    """For people, a line a version."""
    lines = [
        f"{one.name} ({', '.join(one.arms)}): {one.result}, {one.reason}; refresh {one.refresh}, {one.rows} rows as of "
        f"{one.as_of:%Y-%m-%d %H:%M} UTC"
        for one in found
    ]
    return "\n".join(lines) or "nothing serves that needs features"
