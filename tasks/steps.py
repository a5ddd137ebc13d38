"""What the tasks of all flows have in common: when one is tried again, and how a page gets among a run's artifacts.

The only place that sets up Prefect's tasks. Results are neither cached nor kept: a step reads state that changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact, State, TaskRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.tasks import Task

Given = ParamSpec("Given")
Made = TypeVar("Made")
DELAYS = (2.0, 10.0, 30.0)  # seconds before each further try


class Step(Protocol):
    """A decorator that makes a Prefect task of a function."""

    def __call__(self, work: Callable[Given, Made], /) -> Task[Given, Made]: ...


def step(*passing: type[Exception], delays: Sequence[float] = DELAYS) -> Step:
    """A step that is tried again after each of `delays` (seconds) for errors that may be better in a moment.

    What was refused, or is wrong, would only fail again.
    """

    def passes(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.result(raise_on_failure=False), passing)

    return task(
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_condition_fn=passes,
    )


def artifact(name: str, text: str, about: str) -> None:
    """Markdown among the artifacts of the run; versions of one name belong together."""
    create_markdown_artifact(text, key=key_of(name), description=about)


def bar(name: str, percent: float, about: str, mark: str) -> None:
    """A progress bar among the artifacts. The newest of its name is brought up to date while it is about the same thing.

    Args:
        mark: what the description of bars about the same thing begins with.
    """
    last = newest(name)
    if last is None or not (last.description or "").startswith(mark):
        create_progress_artifact(percent, key=key_of(name), description=about)
    elif (last.data, last.description) != (percent, about):
        update_progress_artifact(last.id, percent, about)


def newest(name: str) -> Artifact | None:
    """The artifact of a name that was made last, by whatever run."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key_of(name)]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return found[0] if found else None


def key_of(name: str) -> str:
    """The name as Prefect wants it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
