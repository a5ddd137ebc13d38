"""Trains a candidate: fit on the rows before the cut, the reference for its monitors, bundle, encrypt, register.

Reads the lake as it was in the feature set's snapshots. Writes an encrypted bundle to the artifact store, a run and a
version to MLflow (waiting while it is away), model_vN, pipeline_vN and the candidate to the ledger.
Started by the lifecycle flow. The artifact depends on data, configuration and code only, never on clock or machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from configs.load import config_digest, recipe_of
from configs.schema import Config, ModelConfig, Settings
from errors import UsageError
from models.contract import Decided, configure
from records import (
    Artifact,
    Candidate,
    FeatureSet,
    Manifest,
    Order,
    Snapshot,
    Version,
    Versions,
    digest_bytes,
    digest_of,
    utc_now,
)
from stores.artifacts import Bundle
from stores.ledger import evidence
from stores.ledger.engine import Ledger
from stores.ledger.versions import version_for
from tasks import origin, paperwork
from tasks.features import artifacts_of, history, newest
from tasks.operate import opened
from tasks.provenance import authors, commit, pipeline_digest
from tasks.reference import training_reference
from tasks.threads import limited
from tasks.trial import Trial, split

PIPELINE = "grownet"  # subject of pipeline_vN
UNNUMBERED = Version(name="", number=0, content="")


class Trained(NamedTuple):
    """What MLflow is told of, before its run id completes the candidate."""

    trial: Trial
    candidate: Candidate
    manifest: Manifest
    seconds: float  # of reading and fitting


def train(settings: Settings, config: Config, features: FeatureSet, order: Order) -> Candidate:
    """Trains, stores and registers a candidate; nothing is promised yet, validation judges.

    Raises:
        UsageError: without a reason.
        DataError: when there are no rows before the cut.
        StackError: when MLflow stays away; the artifact is stored by then, and a repeat finds it.
    """
    if not order.reason.strip():
        raise UsageError("training", expected="a reason", got="none", do="say why; it is kept with the candidate")
    recipe, started = recipe_of(config, order.model), utc_now()
    trial = history(settings, config, order.model, features.snapshots)
    moments = split(newest(features.snapshots), recipe.split)
    with limited(settings.threads):
        fitted = trial.fit(moments.cut)
        reference = training_reference(trial, fitted, recipe, moments, configure(trial.model, recipe)[1])
    seconds = (utc_now() - started).total_seconds()
    artifacts = artifacts_of(settings)
    with opened(settings, "flow") as ledger:
        manifest = _manifest(ledger, config, trial, features, moments.cut)
        bundle = _numbered(ledger, _bundle(trial, fitted, artifacts.frame(features), manifest, reference))
        artifact = artifacts.put(bundle.pack())
        candidate = _candidate(settings, bundle.manifest, artifact, order)
        trained = Trained(trial=trial, candidate=candidate, manifest=bundle.manifest, seconds=seconds)
        candidate = msgspec.structs.replace(candidate, run_id=_register(settings, config, trained))
        evidence.save_candidate(ledger, candidate, actor="train")
    paperwork.kept_up(settings, config, order.model)
    return candidate


def _manifest(ledger: Ledger, config: Config, trial: Trial, features: FeatureSet, cut: datetime) -> Manifest:
    """Everything but the model's own number, which the content decides."""
    model, recipe = features.model, config.models[features.model]
    _, policy = configure(trial.model, recipe)
    versions = Versions(
        data=_data_version(ledger, model, features.snapshots),
        feature=features.version,
        model=UNNUMBERED,
        pipeline=version_for(ledger, "pipeline", PIPELINE, pipeline_digest()),
    )
    return Manifest(
        model=model,
        number=0,
        name="",
        versions=versions,
        config_digest=config_digest(config, model),
        params=msgspec.to_builtins(trial.params),
        policy=msgspec.to_builtins(policy),
        serving=recipe.serving.model_dump(mode="json"),
        features=features,
        trained_until=cut,
        kpi=recipe.kpi,
        judge=trial.model.JUDGE,
    )


def _data_version(ledger: Ledger, model: str, snapshots: Sequence[Snapshot]) -> Version:
    """data_vN of the one table a model reads; for several, a number of its own for just this combination."""
    if len(snapshots) == 1:
        return snapshots[0].version
    combined = digest_of({snapshot.table: snapshot.version.content for snapshot in snapshots})
    return version_for(ledger, "data", model, combined)


def _bundle(
    trial: Trial, fitted: Any, frame: pd.DataFrame, manifest: Manifest, reference: Mapping[str, bytes]
) -> Bundle:
    """The answers to the example come from what was dumped and loaded again, as serving will load it."""
    model = trial.model
    files = model.dump(fitted)
    index, requests = model.index(frame), model.example()
    policy = msgspec.convert(manifest.policy, model.Policy)
    decided: list[Decided] = model.decide(model.predict(model.load(files), index, requests), requests, index, policy)
    return Bundle(files, manifest, msgspec.json.encode(requests), msgspec.json.encode(decided), reference)


def _numbered(ledger: Ledger, bundle: Bundle) -> Bundle:
    """Gives the bundle model_vN: equal content, equal number, and so equal bytes."""
    plain = bundle.manifest
    content = digest_bytes(bundle.pack())
    version = version_for(ledger, "model", plain.model, content)
    manifest = msgspec.structs.replace(
        plain,
        number=version.number,
        name=version.name,
        versions=msgspec.structs.replace(plain.versions, model=version),
    )
    return Bundle(bundle.model, manifest, bundle.example, bundle.expected, bundle.reference)


def _candidate(settings: Settings, manifest: Manifest, artifact: Artifact, order: Order) -> Candidate:
    return Candidate(
        id=f"{manifest.name}-{artifact.content[:8]}-{secrets.token_hex(4)}",
        model=manifest.model,
        number=manifest.number,
        artifact=artifact,
        features=manifest.features,
        versions=manifest.versions,
        config_digest=manifest.config_digest,
        commit=commit(),
        authors=authors(settings.configs / f"{manifest.model}.yaml"),
        run_id="",
        reason=order.reason.strip(),
        created_at=utc_now(),
        trained_until=manifest.trained_until,
        verdict=order.verdict,
        segment=order.segment,
        period=order.period,
    )


def _register(settings: Settings, config: Config, trained: Trained) -> str:
    """The run and the version in MLflow; the id of the run."""
    from stores.registry import Registry, Training

    candidate, trial = trained.candidate, trained.trial
    made = origin.origin(config, candidate, trained.manifest, trial)
    known = trial.known(candidate.trained_until)
    training = Training(
        candidate=candidate.id,
        model=candidate.model,
        name=trained.manifest.name,
        artifact=candidate.artifact,
        snapshots=candidate.features.snapshots,
        lake_uri=settings.lake_uri,
        params=_params(trained.manifest, config.models[candidate.model]),
        metrics={
            "training_rows": float(sum(len(frame) for frame in known.values())),
            "feature_rows": float(candidate.features.rows),
            "size_bytes": float(candidate.artifact.size_bytes),
            "seconds_fit": trained.seconds,
        },
        tags=_tags(candidate),
        example=tuple(msgspec.to_builtins(trial.model.example())),
        card=paperwork.begin(settings, made, candidate),
        started_at=candidate.created_at - timedelta(seconds=trained.seconds),
        ended_at=candidate.created_at,
    )
    return Registry.open(settings.mlflow_url).record(training, trial.model.Request, Decided)


def _params(manifest: Manifest, recipe: ModelConfig) -> dict[str, str]:
    groups = {"params": manifest.params, "policy": manifest.policy, "split": recipe.split.model_dump()}
    nested = {f"{group}.{key}": str(value) for group, values in groups.items() for key, value in values.items()}
    return {**nested, "seed": str(recipe.seed), "metric": recipe.metric}


def _tags(candidate: Candidate) -> dict[str, str]:
    versions = candidate.versions
    asked = {"verdict": candidate.verdict, "segment": candidate.segment, "period": candidate.period}
    return {
        "grownet.data": versions.data.name,
        "grownet.feature": versions.feature.name,
        "grownet.model": versions.model.name,
        "grownet.pipeline": versions.pipeline.name,
        "grownet.config": candidate.config_digest,
        "grownet.commit": candidate.commit,
        "grownet.authors": ", ".join(candidate.authors),
        "grownet.reason": candidate.reason,
        "grownet.bundle": candidate.artifact.uri,
        "grownet.status": "not judged yet",
        "mlflow.source.git.commit": candidate.commit.removesuffix("+dirty"),
        **{f"grownet.{name}": value for name, value in asked.items() if value},
    }
