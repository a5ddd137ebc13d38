"""The contract of a model: a module `models/NAME.py` of plain functions, and `configs/NAME.yaml`.

A model is found on disk by its name. It is pure: no clock, no path, no network, no Prefect, no MLflow.
Everything between the functions is data; `Fitted` and `Index` are opaque to the caller.

    tables -> build -> features -> index ---.
    tables -> fit --------------------------+-> predict(requests) -> decide -> decisions -> kpi(outcome)
                                   rules(requests) when the model cannot answer, without the model library
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, cast

import msgspec
import pandas as pd

from configs.schema import ModelConfig
from errors import ConfigError, NotFound
from records import Record, digest_of

Tables = Mapping[str, pd.DataFrame]
HERE = Path(__file__).resolve().parent
NOT_MODELS = {"__init__", "contract"}


class Feature(Record, frozen=True, kw_only=True):
    """One column that `build` makes, as the feature catalogue and the monitors see it."""

    name: str
    dtype: Literal["string", "int64", "float64", "timestamp", "bool", "list"]
    low: float | None = None
    high: float | None = None
    unit: str = ""
    meaning: str


class Past(Record, frozen=True, kw_only=True):
    """A request as the history would have made it, and what came of it: the reference that monitors compare with."""

    time: datetime
    request: Any  # a Request of the model, its subjects pseudonyms
    outcome: Any  # an Outcome of the model
    due: datetime  # when the outcome was known


class Proposal(Record, frozen=True, kw_only=True):
    """What a model proposes for one request; rules decide what leaves. `items` are best first, `scores` go with them."""

    items: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    value: float | None = None


class Decided(Record, frozen=True, kw_only=True):
    """What leaves the service. `overruled` names each policy rule that changed the proposal."""

    items: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    value: float | None = None
    overruled: tuple[str, ...] = ()


class Model(Protocol):
    """What a model's module has. Frames have fixed column names; `subject` is a pseudonym, times are UTC."""

    FEATURES: tuple[Feature, ...]
    WATCHED: tuple[Feature, ...]  # what the monitors see of a request; no subject among them
    JUDGE: Literal["split", "paired"]  # paired: both arms score the same request
    Params: type[msgspec.Struct]  # of fit; unknown keys refused
    Policy: type[msgspec.Struct]  # of decide; unknown keys refused
    Request: type[msgspec.Struct]  # body of POST /NAME/predict
    Outcome: type[msgspec.Struct]  # what feedback reports

    def build(self, tables: Tables, as_of: datetime, params: Any) -> pd.DataFrame:
        """Features of every subject from rows strictly before `as_of`; the same function in training and for one request."""

    def outcomes(self, tables: Tables, start: datetime, end: datetime, params: Any) -> pd.DataFrame:
        """The truth in [start, end): one row per subject and event; at least the column `subject`."""

    def fit(self, tables: Tables, as_of: datetime, params: Any, seed: int) -> Any:
        """Learns from rows strictly before `as_of`. Equal input and seed give equal bytes from `dump`."""

    def baselines(self, tables: Tables, as_of: datetime, params: Any, seed: int) -> Mapping[str, Any]:
        """Fitted stand-ins to beat, by name; scored by the same `score`."""

    def index(self, features: pd.DataFrame) -> Any:
        """Features arranged for looking up one subject quickly."""

    def predict(self, fitted: Any, index: Any, requests: Sequence[Any]) -> list[Proposal]:
        """One proposal per request, the same for a batch as one by one. Raises InputError for a request it cannot answer."""

    def rules(self, index: Any, requests: Sequence[Any]) -> list[Proposal]:
        """The fallback: as `predict`, with neither a fitted model nor the model library. `index` may be None."""

    def decide(self, proposals: Sequence[Proposal], requests: Sequence[Any], index: Any, policy: Any) -> list[Decided]:
        """The policy rule, which sees every proposal before it leaves."""

    def score(self, fitted: Any, index: Any, outcomes: pd.DataFrame) -> pd.DataFrame:
        """Offline metrics, one row per scored subject (index named `subject`), one column per metric; the mean is the figure.

        More is better in each. Without `fitted` the rules are scored: they are the champion before a first release.
        """

    def segments(self, features: pd.DataFrame) -> pd.DataFrame:
        """For the bias check: index `subject`, one string column per kind of segment."""

    def kpi(self, decision: Decided, outcome: Any) -> float:
        """The online KPI of one answer once its outcome is known."""

    def observe(self, index: Any, requests: Sequence[Any]) -> pd.DataFrame:
        """The WATCHED columns of each request as the model sees it, in the order given.

        The same function for the training reference and for the journal; unknown is missing, never a made-up value.
        """

    def past(self, tables: Tables, start: datetime, end: datetime, params: Any) -> list[Past]:
        """What the model would have been asked in [start, end), oldest first, from rows of that time."""

    def routing_key(self, request: Any) -> str:
        """What is hashed into arms: the subject, or a stable part of the request."""

    def mask(self, request: Any, pseudonym: Any) -> Any:
        """The request with each subject replaced by `pseudonym(subject)`; the first thing the service does."""

    def example(self) -> list[Any]:
        """Synthetic requests, no real rows: to warm a model and to compare its answers with those stored at training."""

    def dump(self, fitted: Any) -> dict[str, bytes]:
        """The model as named files: arrays, JSON, LightGBM text. No pickle. Deterministic."""

    def load(self, files: Mapping[str, bytes]) -> Any:
        """What `dump` wrote. Raises TamperError for files it cannot read."""


def names() -> list[str]:
    """The models on disk, sorted: a module in models/ and a YAML of the same name in configs/."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_MODELS)


def find(name: str) -> Model:
    """The module of a model.

    Raises:
        NotFound: when there is no models/NAME.py.
    """
    if name not in names():
        raise NotFound(
            f"model {name!r}", expected=f"one of {names()}", got=name, do="add models/NAME.py and configs/NAME.yaml"
        )
    return cast(Model, importlib.import_module(f"models.{name}"))


def configure(model: Model, config: ModelConfig) -> tuple[Any, Any]:
    """The model's typed (params, policy) from its configuration.

    Raises:
        ConfigError: naming the file and key of each wrong one.
    """
    problems: list[str] = []
    typed: list[Any] = []
    for key, schema, given in (("params", model.Params, config.params), ("policy", model.Policy, config.policy)):
        try:
            typed.append(msgspec.convert(given, schema, strict=True))
        except msgspec.ValidationError as error:
            problems.append(f"{config.name}.yaml: {key}: {error}")
    if problems:
        raise ConfigError(problems)
    return typed[0], typed[1]


def feature_digest(model: Model) -> str:
    """SHA-256 of the feature definitions and of the source that builds them: what feature_vN stands for."""
    module = cast(ModuleType, model)
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / "kit").glob("*.py"))}
    own = Path(str(module.__file__)).read_text(encoding="utf-8")
    return digest_of({"features": list(model.FEATURES), "source": own, "kit": sources})
