"""MLflow, for people to look at: runs, metrics, dataset inputs, registered versions, aliases. Nothing decides by it.

The only importer of MLflow. Reads and writes GROWNET_MLFLOW_URL: a server (http://) or a database (sqlite:///file).
No plaintext model and no real row ever goes there: a registered version is a small folder with the signature, made-up
requests and the digest of the encrypted bundle. Written by training, validation and release; waits while MLflow is away.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

import mlflow
import msgspec
from mlflow import MlflowClient
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.telemetry import set_telemetry_client
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array
from sqlalchemy.exc import OperationalError

from checks.aliases import ARTIFACT, aliases
from errors import StackError
from records import Artifact, Record, ReleasePlan, Snapshot, digest_bytes

ResultT = TypeVar("ResultT")
log = logging.getLogger(__name__)
CANDIDATE, CARD = "grownet.candidate", "grownet.card"
MANY = 10_000  # versions of one model, more than MLflow gives at once otherwise
LOGGED = "models:/"  # before the id of a logged model, in the source of a version
DESCRIPTION_CHARACTERS = 5000  # MLflow's column on a server's database; SQLite would take more
DIGEST_CHARACTERS = 36  # MLflow's limit for the digest of a dataset; the whole one goes beside it
TYPES = {
    msgspec.inspect.StrType: DataType.string,
    msgspec.inspect.IntType: DataType.long,
    msgspec.inspect.FloatType: DataType.double,
    msgspec.inspect.BoolType: DataType.boolean,
}


class Training(Record, frozen=True, kw_only=True):
    """What MLflow is told of one training. `tags` go to the run and to the version."""

    candidate: str
    model: str
    name: str  # recommendation-v2
    artifact: Artifact
    snapshots: tuple[Snapshot, ...]
    lake_uri: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    example: tuple[dict[str, Any], ...]  # made-up requests
    card: str  # Markdown
    started_at: datetime
    ended_at: datetime


class Registry:
    """One MLflow, waited for up to `wait_seconds` in each call. Every call may be repeated without harm."""

    def __init__(self, url: str, wait_seconds: float) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # we wait ourselves, with an end
        set_telemetry_client()
        mlflow.set_tracking_uri(url)  # a database asked directly looks logged models up at the global address
        self._url, self._wait = url, wait_seconds
        self._client: MlflowClient = self._patiently("a connection", lambda: MlflowClient(url, url))

    @classmethod
    def open(cls, url: str, wait_seconds: float = 300.0) -> Registry:
        """Connects to the MLflow at `url`; a database is created and migrated when it is new.

        Raises:
            StackError: when it does not answer within `wait_seconds`.
        """
        return cls(url, wait_seconds)

    def record(self, training: Training, request: type[msgspec.Struct], reply: type[msgspec.Struct]) -> str:
        """Writes the run of a training and registers its version; returns the run's id.

        Args:
            training: what to write. A second call for the same candidate completes the first.
            request: type of one request, for the signature.
            reply: type of one decision.

        Raises:
            StackError: when MLflow stays away, or refuses.
        """

        def write() -> str:
            run_id = self._run(training)
            self._log(run_id, training)
            self._register(run_id, training, ModelSignature(_schema(request), _schema(reply)))
            self._client.set_terminated(run_id, "FINISHED", _milliseconds(training.ended_at))
            return run_id

        return self._patiently(f"the run of {training.candidate}", write)

    def judge(self, model: str, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Adds what validation found to the run and to the version it led to."""

        def write() -> None:
            now = int(time.time() * 1000)
            figures = [Metric(name, value, now, 0) for name, value in sorted(metrics.items())]
            self._client.log_batch(run_id, metrics=figures, tags=[RunTag(*item) for item in sorted(tags.items())])
            run = self._client.get_run(run_id)
            version = self._version(model, run.data.tags[ARTIFACT])
            # a version with the same bytes may be that of an earlier candidate
            if version is not None and version.tags.get(CANDIDATE) == run.data.tags[CANDIDATE]:
                for key, value in sorted(tags.items()):
                    self._client.set_model_version_tag(model, version.version, key, value)

        self._patiently(f"the verdict on run {run_id}", write)

    def describe(self, model: str, cards: Mapping[str, str]) -> tuple[str, ...]:
        """Puts the newest model card on each registered version, where it is another one than before.

        Args:
            cards: content digest of the artifact -> Markdown. A description holds the beginning, card.md all of it.

        Returns:
            the digests of those that were changed; versions that this MLflow never saw are left out.
        """

        def write() -> tuple[str, ...]:
            known = self._client.search_model_versions(f"name = '{model}'", max_results=MANY)
            first = {one.tags.get(ARTIFACT): one for one in sorted(known, key=lambda one: -int(one.version))}
            found = [(first[content], card) for content, card in sorted(cards.items()) if content in first]
            return tuple(one.tags[ARTIFACT] for one, card in found if self._described(one, card))

        return self._patiently(f"the cards of {model}", write)

    def mirror(self, plan: ReleasePlan) -> dict[str, str]:
        """Sets the aliases champion, canary and shadow to what the plan says, after the fact.

        Returns:
            alias -> MLflow version, for those that point somewhere: neither the rules nor a version that this MLflow
            never saw have one.
        """
        return self._patiently(f"the aliases of {plan.model}", lambda: self._alias(plan.model, aliases(plan)))

    def _run(self, training: Training) -> str:
        experiment = self._experiment(training.model)
        found = self._client.search_runs([experiment], f"tags.`{CANDIDATE}` = '{training.candidate}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {CANDIDATE: training.candidate, ARTIFACT: training.artifact.content}
        started = _milliseconds(training.started_at)
        return str(self._client.create_run(experiment, started, tags, training.name).info.run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=self._folder()))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else was first
                    raise
                found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _folder(self) -> str | None:
        """Files of a database without a server go beside it; a server knows its own place."""
        scheme, _, path = self._url.partition(":///")
        return (Path(path).resolve().parent / "artifacts").as_uri() if scheme == "sqlite" else None

    def _log(self, run_id: str, training: Training) -> None:
        at = _milliseconds(training.ended_at)
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, at, 0) for name, value in sorted(training.metrics.items())],
            params=[Param(*item) for item in sorted(training.params.items())],
            tags=[RunTag(*item) for item in sorted(training.tags.items())],
        )
        self._client.log_inputs(run_id, [_dataset(snapshot, training.lake_uri) for snapshot in training.snapshots])

    def _register(self, run_id: str, training: Training, signature: ModelSignature) -> None:
        """An artifact is registered once; a later run of the same bytes is told apart by its own tags."""
        if self._versions(training.model, training.artifact.content):
            return
        experiment = self._client.get_run(run_id).info.experiment_id
        logged = self._client.create_logged_model(experiment, training.name, run_id, model_type=training.model)
        with TemporaryDirectory() as folder:
            _write_folder(Path(folder), training, signature, run_id, logged.model_id)
            self._client.log_model_artifacts(logged.model_id, folder)
        self._client.finalize_logged_model(logged.model_id, "READY")
        try:
            self._client.create_registered_model(training.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._client.create_model_version(
            training.model,
            source=f"{LOGGED}{logged.model_id}",
            run_id=run_id,
            tags={**training.tags, CANDIDATE: training.candidate, ARTIFACT: training.artifact.content},
            description=_beginning(training.card),
            model_id=logged.model_id,
        )

    def _described(self, version: ModelVersion, card: str) -> bool:
        if version.tags.get(CARD) == digest_bytes(card.encode()):
            return False
        with TemporaryDirectory() as folder:
            (Path(folder) / "card.md").write_text(card, encoding="utf-8")
            self._client.log_model_artifacts(version.source.removeprefix(LOGGED), folder)
        self._client.update_model_version(version.name, version.version, _beginning(card))
        self._client.set_model_version_tag(version.name, version.version, CARD, digest_bytes(card.encode()))
        return True

    def _versions(self, model: str, content: str) -> list[ModelVersion]:
        query = f"name = '{model}' and tags.`{ARTIFACT}` = '{content}'"
        return list(self._client.search_model_versions(query, max_results=10))

    def _version(self, model: str, content: str) -> ModelVersion | None:
        found = self._versions(model, content)
        return min(found, key=lambda version: int(version.version)) if found else None

    def _alias(self, model: str, wanted: Mapping[str, str]) -> dict[str, str]:
        set_to: dict[str, str] = {}
        if not self._client.search_registered_models(f"name = '{model}'"):
            return set_to
        for alias, content in wanted.items():
            version = self._version(model, content) if content else None
            if version is None:
                self._client.delete_registered_model_alias(model, alias)
            else:
                set_to[alias] = str(version.version)
                self._client.set_registered_model_alias(model, alias, version.version)
        return set_to

    def _patiently(self, what: str, call: Callable[[], ResultT]) -> ResultT:
        """Repeats the call while MLflow is away, at longer and longer intervals, until the time is up."""
        deadline, pause = time.monotonic() + self._wait, 0.5
        while True:
            try:
                return call()
            except (MlflowException, OperationalError, OSError) as error:
                if not _away(error) or time.monotonic() + pause > deadline:
                    raise StackError(
                        f"MLflow at {_shown(self._url)}, {what}",
                        expected=f"an answer within {self._wait:g} s",
                        got=str(error)[:300],
                        do="look whether it runs (`grownet doctor`), then run this again",
                    ) from error
                log.warning("MLflow at %s is away, trying again in %.1f s: %.200s", _shown(self._url), pause, error)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


def _away(error: Exception) -> bool:
    """A refusal (4xx) will be the same next time; anything else may pass."""
    return not isinstance(error, MlflowException) or int(error.get_http_status_code()) >= 500


def _shown(url: str) -> str:
    """The address without a password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _dataset(snapshot: Snapshot, lake_uri: str) -> DatasetInput:
    """The table as an input: our digest (MLflow's own does not see every row) and the Delta version."""
    source = DeltaDatasetSource(path=f"{lake_uri}/{snapshot.table}", delta_table_version=snapshot.delta_version)
    digest = snapshot.version.content
    profile = msgspec.json.encode({"num_rows": snapshot.rows, "version": snapshot.version.name}).decode()
    dataset = Dataset(snapshot.table, digest[:DIGEST_CHARACTERS], "delta_table", source.to_json(), profile=profile)
    tags = {
        "mlflow.data.context": "training",
        "grownet.data": snapshot.version.name,
        "grownet.digest": digest,
        "grownet.suite": snapshot.suite,
    }
    return DatasetInput(dataset, [InputTag(*item) for item in tags.items()])


def _write_folder(folder: Path, training: Training, signature: ModelSignature, run_id: str, model_id: str) -> None:
    """An MLmodel that says where the encrypted bundle is, and made-up requests; MLflow cannot load the model by it."""
    names = signature.inputs.input_names()
    rows = [[request.get(name) for name in names] for request in training.example]
    (folder / "input_example.json").write_bytes(msgspec.json.encode({"columns": names, "data": rows}))
    (folder / "card.md").write_text(training.card, encoding="utf-8")
    described = Model(
        run_id=run_id,
        signature=signature,
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
        metadata={**training.tags, CANDIDATE: training.candidate},
        model_id=model_id,
        model_size_bytes=training.artifact.size_bytes,
    )
    artifact = training.artifact
    described.add_flavor("grownet", uri=artifact.uri, sha256=artifact.content, encrypted=True)
    described.save(str(folder / "MLmodel"))


def _beginning(card: str) -> str:
    """What of a card fits into a description, cut between lines."""
    if len(card) <= DESCRIPTION_CHARACTERS:
        return card
    more = "\n\n*The whole card is card.md among the artifacts of this version.*\n"
    return card[: DESCRIPTION_CHARACTERS - len(more)].rpartition("\n")[0] + more


def _schema(struct: type[msgspec.Struct]) -> Schema:
    """Columns as the type declares them; guessing them from rows takes an empty list or a null for "anything"."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return Schema([_column(field) for field in info.fields])


def _column(field: msgspec.inspect.Field) -> ColSpec:
    kind, optional = field.type, not field.required
    if isinstance(kind, msgspec.inspect.UnionType):
        kinds = [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]
        optional, kind = optional or len(kinds) < len(kind.types), kinds[0] if len(kinds) == 1 else kind
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        item = TYPES.get(type(_bare(kind.item_type)))
        return ColSpec(Array(item) if item else AnyType(), field.encode_name, required=not optional)
    return ColSpec(TYPES.get(type(_bare(kind)), AnyType()), field.encode_name, required=not optional)


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
