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
from errors import GrownetError, NotFound, TamperError
from models.contract import Model, find
from records import Answer, Artifact, FeatureSet
from stores.artifacts import Artifacts, unparquet
from tasks import reference
from tasks.features import artifacts_of

log = logging.getLogger("grownet.monitor")
MOST_SNAPSHOTS = 8  # besides that of training; lines come about in the order of the refreshes
# what odd bundles, odd lines and odd rows raise
ODD = (GrownetError, msgspec.MsgspecError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Indexes:
    """The features that answers of one version were given with: those of its training, and later refreshes by digest."""

    def __init__(self, artifacts: Artifacts, module: Model, training: FeatureSet) -> None:
        self._artifacts, self._module, self._training = artifacts, module, training.content
        self._known: dict[str, Any] = {self._training: module.index(artifacts.frame(training))}

    def of(self, snapshot: str) -> Any:
        """The index of a snapshot; that of training for a line that names none, and for one that is lost, which is said."""
        wanted = snapshot or self._training
        if wanted not in self._known:
            while len(self._known) > MOST_SNAPSHOTS:
                del self._known[next(name for name in self._known if name != self._training)]
            self._known[wanted] = self._load(wanted)
        return self._known[wanted]

    def _load(self, content: str) -> Any:
        try:
            data = self._artifacts.get(Artifact(uri=content, content=content, size_bytes=0))
            return self._module.index(unparquet(data, f"features {content[:12]}"))
        except (NotFound, TamperError) as error:
            log.error("answers are looked at with the features of training, not with those they name: %s", error)
            return self._known[self._training]


@dataclass(frozen=True)
class Eye:
    """How one artifact looks at requests and answers."""

    module: Model
    references: References
    sample: pd.DataFrame
    indexes: Indexes
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
            indexes = Indexes(self._artifacts, module, bundle.manifest.features)
        except ODD as error:
            self.fail(model, artifact, error)
            return None
        return Eye(module, references, sample, indexes, bundle.manifest.trained_until)


class Observed(NamedTuple):
    """What the model saw of some lines' requests."""

    frame: pd.DataFrame  # a row for each line of `at`
    at: list[int]  # positions of the lines whose request was kept and can be read
    unreadable: list[int]  # of those whose request cannot


def observed(eye: Eye, lines: Sequence[Answer]) -> Observed:
    """What the model saw of the requests that were kept, each with the features that its line names."""
    requests, at, unreadable = [], [], []
    for place, line in enumerate(lines):
        if line.features is not None:
            try:
                requests.append(msgspec.convert(line.features, eye.module.Request, strict=True))
                at.append(place)
            except msgspec.ValidationError:
                unreadable.append(place)
    return Observed(_seen(eye, requests, [lines[place].snapshot for place in at]), at, unreadable)


def _seen(eye: Eye, requests: list[Any], named: list[str]) -> pd.DataFrame:
    """A row for each request, in their order."""
    parts = []
    for snapshot in dict.fromkeys(named):
        places = [place for place, name in enumerate(named) if name == snapshot]
        frame = eye.module.observe(eye.indexes.of(snapshot), [requests[place] for place in places])
        parts.append(frame.set_axis(places, axis="index"))
    return pd.concat(parts).sort_index() if parts else eye.module.observe(eye.indexes.of(""), [])
