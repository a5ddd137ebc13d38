"""What is known of a version the moment it is trained: the half of its model card that never changes afterwards.

Written by training to `home/cards/MODEL/MODEL-vN.json`, read by cards, feature pages and release notes. Where the file
is missing (an older version, a lost home) it is made again from the artifact, the lake and the code of now, and says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from configs.load import config_digest, recipe_of
from configs.schema import Column, Config, Settings
from errors import DataError
from models.contract import Feature, Model, feature_digest
from records import Candidate, Manifest, Record, Snapshot, Version, Versions
from tasks import places, quoted
from tasks.trial import Trial


class ColumnFacts(Record, frozen=True, kw_only=True):
    """A column that was let in."""

    name: str
    type: str
    meaning: str
    subject: bool
    redacted: bool
    nullable: bool


class TableFacts(Record, frozen=True, kw_only=True):
    """A table as it was when a version learned from it."""

    dataset: str
    table: str
    description: str
    licence: str
    owner: str
    version: Version  # data_vN
    delta_version: int
    rows: int
    learned: int  # of them before the cut
    first: datetime  # event time
    last: datetime
    columns: tuple[ColumnFacts, ...]
    dropped: dict[str, str]  # column -> why it was left outside


class Origin(Record, frozen=True, kw_only=True):
    """A version as it was trained. A new field needs a default, or the files of older versions are made again."""

    model: str
    name: str
    number: int
    artifact: str  # content digest
    versions: Versions
    description: str
    owners: tuple[str, ...]
    metric: str
    kpi: str
    judge: str
    params: dict[str, Any]
    policy: dict[str, Any]
    split: dict[str, Any]
    limits: dict[str, Any]  # of the gates
    trained_until: datetime
    as_of: datetime
    feature_rows: int
    tables: tuple[TableFacts, ...]
    features: tuple[Feature, ...]
    watched: tuple[Feature, ...]
    quotes: dict[str, str]  # heading of docs/models/NAME.md -> Markdown
    notes: tuple[str, ...]  # what must be said about the above


def origin(config: Config, candidate: Candidate, manifest: Manifest, trial: Trial) -> Origin:
    """The facts of a version.

    Args:
        config: as it is now; what differs from training is said in `notes`.
        manifest: of the version's bundle.
        trial: the model on the tables of the version's snapshots.
    """
    recipe, (quotes, missing) = config.models[candidate.model], quoted.quoted(candidate.model)
    return Origin(
        model=candidate.model,
        name=manifest.name,
        number=candidate.number,
        artifact=candidate.artifact.content,
        versions=candidate.versions,
        description=recipe.description,
        owners=recipe.owners,
        metric=recipe.metric,
        kpi=manifest.kpi,
        judge=manifest.judge,
        params=manifest.params,
        policy=manifest.policy,
        split=recipe.split.model_dump(mode="json"),
        limits=recipe.gates.model_dump(mode="json"),
        trained_until=candidate.trained_until,
        as_of=candidate.features.as_of,
        feature_rows=candidate.features.rows,
        tables=tuple(_tables(config, candidate, trial)),
        features=trial.model.FEATURES,
        watched=trial.model.WATCHED,
        quotes=quotes,
        notes=tuple(note for note in (missing, *_differs(config, candidate, trial.model)) if note),
    )


def save(home: Path, made: Origin) -> Path:
    """Writes the facts of a version; the first ones stay, also when the same bytes are trained again."""
    target = path(home, made.model, made.name)
    if read(home, made.model, made.name, made.artifact) is None:
        write(target, msgspec.json.format(made.to_json(), indent=1))
    return target


def read(home: Path, model: str, name: str, artifact: str) -> Origin | None:
    """The facts of a version, or None when there are none of these very bytes that this code can read."""
    try:
        found = Origin.from_json(path(home, model, name).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no JSON, of another shape, or no UTF-8
        return None
    return found if found.artifact == artifact else None


def path(home: Path, model: str, name: str) -> Path:
    return home / places.card(model, name).with_suffix(".json")


def write(target: Path, data: bytes) -> bool:
    """Writes a file whole, unless it holds just that already; True when it was written."""
    if target.is_file() and target.read_bytes() == data:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def again(settings: Settings, config: Config, candidate: Candidate) -> Origin:
    """The facts of a version made from its artifact and its snapshots.

    Raises:
        NotFound, TamperError: when the artifact is not there or was changed.
        DataError: when the lake has the snapshots no more, or the model reads other tables today.
    """
    from tasks.features import artifacts_of, history

    tables = {config.datasets[name].table for name in recipe_of(config, candidate.model).tables.values()}
    known = {snapshot.table for snapshot in candidate.features.snapshots}
    if tables != known:
        raise DataError(f"tables of {candidate.versions.model.name}", expected=sorted(known), got=sorted(tables))
    bundle = artifacts_of(settings).bundle(candidate.artifact.content)
    trial = history(settings, config, candidate.model, candidate.features.snapshots)
    return origin(config, candidate, bundle.manifest, trial)


def _tables(config: Config, candidate: Candidate, trial: Trial) -> list[TableFacts]:
    known: Mapping[str, Snapshot] = {snapshot.table: snapshot for snapshot in candidate.features.snapshots}
    made = []
    for alias, name in sorted(config.models[candidate.model].tables.items()):
        dataset, times = config.datasets[name], trial.tables[alias][trial.times[alias]]
        snapshot = known[dataset.table]
        made.append(
            TableFacts(
                dataset=name,
                table=dataset.table,
                description=dataset.description,
                licence=dataset.licence,
                owner=dataset.owner,
                version=snapshot.version,
                delta_version=snapshot.delta_version,
                rows=len(times),
                learned=int((times < candidate.trained_until).sum()),
                first=times.min().to_pydatetime(),
                last=times.max().to_pydatetime(),
                columns=tuple(_column(key, one) for key, one in dataset.columns.items()),
                dropped=dict(dataset.dropped),
            )
        )
    return made


def _column(name: str, declared: Column) -> ColumnFacts:
    return ColumnFacts(
        name=name,
        type=declared.type,
        meaning=declared.meaning,
        subject=declared.subject,
        redacted=declared.redact,
        nullable=declared.nullable,
    )


def _differs(config: Config, candidate: Candidate, model: Model) -> list[str]:
    """What of now is not what it was trained with; nothing during training itself."""
    later = "Purpose, owners, licences and limits are those of the configuration when this card was first made, which is not the one it was trained with."
    code = "Feature definitions are those of the code when this card was first made, which is not the one it was trained with."
    return [
        later if config_digest(config, candidate.model) != candidate.config_digest else "",
        code if feature_digest(model) != candidate.versions.feature.content else "",
    ]
