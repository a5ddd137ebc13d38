"""What the demo needs behind the scenes: chapters with progress bars, flow runs over the REST API, voters, memory.

Talks to the running stack only as a person or a program outside would: deployments, the approval form, the service.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil
import pyotp
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from configs.schema import Settings
from errors import StackError
from records import utc_now
from stack.report import Stage, Story
from tasks.runs import start_deployment, state

POLL_SECONDS = 0.2
STEP_SECONDS = 30  # of a one-time code
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, seconds: float, every: float = POLL_SECONDS) -> Found:
    """Polls, `every` so many seconds, until `look` gives something.

    Raises:
        StackError: when it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(every)
    raise StackError(
        what, expected=f"within {seconds:.0f} s", got="not yet", do="look into the logs of the demo's home"
    )


@dataclass
class Runs:
    """Flow runs of the stack's deployments."""

    settings: Settings

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Starts FLOW/DEPLOYMENT and returns the id of the run."""
        return start_deployment(self.settings, deployment, parameters)

    def finish(self, run: str, seconds: float) -> tuple[str, str]:
        """Waits for the run's end and returns type and message of its last state."""

        def ended() -> tuple[str, str] | None:
            try:
                kind, message = state(self.settings, run)
            except StackError:  # the server is busy with the run we wait for
                return None
            return (kind, message) if kind in FINAL else None

        return until(ended, f"flow run {run}", seconds, every=1.0)

    def complete(self, deployment: str, parameters: dict[str, Any], seconds: float) -> str:
        """Runs a deployment to its end.

        Raises:
            StackError: when it did not complete.
        """
        run = self.start(deployment, parameters)
        kind, message = self.finish(run, seconds)
        if kind != "COMPLETED":
            raise StackError(f"flow run {deployment}", expected="COMPLETED", got=f"{kind}: {message}")
        return run


@dataclass
class Voter:
    """A reviewer of the demo with the authenticator that shows the codes."""

    name: str
    role: str
    secret: str
    _last_step: int = 0

    def code(self) -> str:
        """A code not used before: of this 30-second step, or of the next one, which is accepted as well."""
        step = int(utc_now().timestamp()) // STEP_SECONDS
        if step + 1 <= self._last_step:
            until(lambda: int(utc_now().timestamp()) // STEP_SECONDS >= self._last_step, "next code", STEP_SECONDS + 1)
            step = int(utc_now().timestamp()) // STEP_SECONDS
        self._last_step = max(step, self._last_step + 1)
        return pyotp.TOTP(self.secret).at(self._last_step * STEP_SECONDS)

    def wrong_code(self) -> str:
        """Six digits that no step near now has."""
        now = int(utc_now().timestamp())
        near = {pyotp.TOTP(self.secret).at(now + offset * STEP_SECONDS) for offset in range(-3, 4)}
        return next(code for code in (f"{number:06d}" for number in range(1_000_000)) if code not in near)


def console_for_people() -> Console:
    """On stderr; wide where nobody's window sets a width."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = 140
    return console


@dataclass
class Chapters:
    """Prints the story as it happens: a bar while a chapter runs, its facts when it is over."""

    story: Story
    console: Console = field(default_factory=console_for_people)

    @contextmanager
    def chapter(self, title: str, total: float | None = None) -> Iterator[Telling]:
        stage = Stage(title)
        self.story.stages.append(stage)
        start = time.monotonic()
        bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip
        with bars:
            telling = Telling(stage, bars, bars.add_task(title, total=total, note=""))
            try:
                yield telling
            finally:
                stage.seconds = time.monotonic() - start
        self.console.print(f"[bold green]✓[/] [bold]{title}[/] [dim]{stage.seconds:.1f} s[/]", soft_wrap=True)
        for line in stage.lines:
            self.console.print(f"    {line}", markup=False, soft_wrap=True)


@dataclass
class Telling:
    """What a chapter says: facts, kept; and how far it is, shown while it runs."""

    stage: Stage
    bars: Progress
    task: Any

    def say(self, line: str) -> None:
        self.stage.lines.append(line)

    def progress(self, done: float, note: str = "", total: float | None = None) -> None:
        self.bars.update(self.task, completed=done, note=note, total=total)


@contextmanager
def memory_watched(story: Story) -> Iterator[None]:
    """Notes the largest resident memory of this process and all its children while the block runs."""
    stop = threading.Event()
    own = psutil.Process()

    def watch() -> None:
        while not stop.wait(1.0):
            story.peak_bytes = max(story.peak_bytes, resident(own))

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def resident(root: psutil.Process) -> int:
    """Bytes of a process and all its children; those that end while they are counted have none."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total
