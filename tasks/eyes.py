"""How the monitor sees: an artifact's training reference, its feature snapshot, and the model that reads requests.

Reads artifacts, opened with the keys of training: the monitor runs where training does, and sees pseudonyms only. Used by
`tasks.profiling` to count, and by `tasks.monitor` and `tasks.pages` to judge and to show.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from checks.profiles import References
from configs.schema import Settings
from errors import GrownetError
from models.contract import Model, find
from records import Answer
from stores.artifacts import Artifacts
from tasks import reference
from tasks.features import artifacts_of

log = logging.getLogger("grownet.monitor")
ODD = (GrownetError, msgspec.MsgspecError, KeyError, TypeError, ValueError)  # what odd bundles and odd lines raise


@dataclass(frozen=True)
class Eye:
    """How one artifact looks at requests and answers."""

    module: Model
    references: References
    sample: pd.DataFrame
    index: Any
    trained_until: datetime


class Eyes:
    """The eyes of all artifacts that answered, each loaded once. One that cannot be loaded is None, and why is kept."""

    def __init__(self, settings: Settings) -> None:
        self._artifacts: Artifacts = artifacts_of(settings)
        self._known: dict[str, Eye | None] = {}
        self.broken: dict[str, str] = {}

    def of(self, model: str, artifact: str) -> Eye | None:
        """None for an artifact that is lost, changed, or has no reference."""
        if artifact not in self._known:
            self._known[artifact] = self._load(model, artifact) if artifact else None
        return self._known[artifact]

    def fail(self, model: str, artifact: str, error: Exception) -> None:
        """Says that an artifact cannot look at something; what it was asked about has no profile."""
        log.error("artifact %s of %s cannot be monitored: %r", artifact[:12], model, error)
        self.broken[artifact] = str(error) if isinstance(error, GrownetError) else repr(error)

    def shut(self) -> None:
        """Those that failed on something judge nothing in this run: a part of their windows is missing."""
        self._known |= dict.fromkeys(self.broken)

    def _load(self, model: str, artifact: str) -> Eye | None:
        try:
            bundle = self._artifacts.bundle(artifact)
            if not bundle.reference:
                return None
            references, sample = reference.opened(bundle.reference)
            module = find(model)
            index = module.index(self._artifacts.frame(bundle.manifest.features))
        except ODD as error:
            self.fail(model, artifact, error)
            return None
        return Eye(module, references, sample, index, bundle.manifest.trained_until)


class Observed(NamedTuple):
    """What the model saw of some lines' requests."""

    frame: pd.DataFrame  # a row for each line of `at`
    at: list[int]  # positions of the lines whose request was kept and can be read
    unreadable: list[int]  # of those whose request cannot


def observed(eye: Eye, lines: Sequence[Answer]) -> Observed:
    """What the model saw of the requests that were kept."""
    requests, at, unreadable = [], [], []
    for place, line in enumerate(lines):
        if line.features is not None:
            try:
                requests.append(msgspec.convert(line.features, eye.module.Request, strict=True))
                at.append(place)
            except msgspec.ValidationError:
                unreadable.append(place)
    return Observed(eye.module.observe(eye.index, requests), at, unreadable)
