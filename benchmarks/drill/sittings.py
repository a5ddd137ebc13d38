"""A drill on disk: FOLDER/facts.json after each repeat, so that one that was stopped goes on in a further sitting.

A sitting is one run of the command, on a stack of its own. All sittings of a drill have the same faults, rate and code. What is
written can be read back; a repeat that was under way when a sitting was killed is named, and played again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.drill.faults import FAULTS
from benchmarks.drill.measures import Repeat, summary
from errors import StackError, UsageError
from records import digest_bytes, digest_of
from tasks.provenance import ROOT, commit

FACTS, HOME = "facts.json", "home-"
CODE = {".py", ".yaml", ".j2", ".lock"}
ASIDE = {"tests", "docs", "deploy"}  # a drill runs nothing of these


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill plays, the same in all its sittings but for `repeats`: of each fault, when it is complete."""

    faults: tuple[str, ...]
    repeats: int
    per_second: float  # requests
    flows: bool  # whether Prefect, its worker and MLflow run


class Sitting(msgspec.Struct, kw_only=True):
    """One run of the command, as of its last repeat."""

    began: datetime
    commit: str
    cores: int
    minutes: float = 0.0
    repeats: int = 0
    load_1_5_15: tuple[float, ...] = ()
    playing: str = ""  # under way: a sitting that was stopped leaves its name here
    trouble: str = ""  # why it ended before its last repeat, unless somebody stopped it
    whole: bool = False  # it came to the end of its repeats, and its stack ended in order


@dataclass
class Drill:
    """All sittings so far, and every repeat that was played to its end; written to its folder by each method that changes it."""

    folder: Path
    asked: Asked
    code: str
    sittings: list[Sitting]
    played: dict[str, list[Repeat]]

    def left(self) -> list[tuple[str, int]]:
        """Fault and number of each repeat that is still to be played, fault by fault."""
        last = self.asked.repeats
        return [(name, at) for name, done in self.played.items() for at in range(len(done) + 1, last + 1)]

    @contextmanager
    def sitting(self) -> Iterator[Sitting]:
        """A further sitting, written down as it begins and as it ends."""
        now = Sitting(began=datetime.now(UTC), commit=commit(), cores=os.cpu_count() or 1)
        self.sittings.append(now)
        self._write()
        try:
            yield now
        except Exception as error:
            now.trouble = f"{now.playing or 'outside of a repeat'}: {type(error).__name__}: {error}"
            raise
        finally:
            self._write()

    def begins(self, fault: str, number: int) -> None:
        """Notes which repeat is under way."""
        self.sittings[-1].playing = f"{fault} {number}"
        self._write()

    def ended(self, repeat: Repeat) -> None:
        """Keeps a repeat.

        Raises:
            StackError: when the code is another than at the beginning: then nobody knows what was drilled.
        """
        if code() != self.code:
            raise StackError(
                "the code of a drill", expected="left alone while it runs", got="changed", do="drill a clone"
            )
        self.played[repeat.fault].append(msgspec.structs.replace(repeat, sitting=len(self.sittings)))
        self.sittings[-1].playing = ""
        self.sittings[-1].repeats += 1
        self._write()

    def facts(self) -> dict[str, Any]:
        """All that a page or a machine wants to know; `read` makes a drill of it again."""
        faults = {
            name: {"what": (FAULTS[name].play.__doc__ or "").strip(), **summary(found, FAULTS[name].limit)}
            for name, found in self.played.items()
        }
        complete = not self.left()
        sound = complete and not any(one.trouble for one in self.sittings)
        return {
            "asked": msgspec.to_builtins(self.asked),
            "code": self.code,
            "sittings": msgspec.to_builtins(self.sittings),
            "faults": faults,
            "complete": complete,
            "held": sound and not any(one["exceeded"] for one in faults.values()),
        }

    def _write(self) -> None:
        """The facts as they are now: whole, or as they were before, also after a power failure."""
        now = self.sittings[-1]
        now.minutes = round((datetime.now(UTC) - now.began).total_seconds() / 60, 1)
        now.load_1_5_15 = tuple(round(one, 1) for one in os.getloadavg())
        draft = self.folder / f".{FACTS}.{os.getpid()}"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self.facts(), file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / FACTS)


def make(folder: Path) -> None:
    """Makes a drill's folder when it is not there. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"drill in {folder}", expected="a folder", got=str(error)) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a drill's folder; homes that killed sittings left there go.

    Raises:
        UsageError: when another drill holds it, or it is no folder that can be written to.
    """
    try:
        lock = (folder / ".lock").open("ab")
    except OSError as error:
        raise UsageError(f"drill in {folder}", expected="a folder to write to", got=str(error)) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"drill in {folder}", expected="no other drill in this folder", got="one runs") from None
        for left in folder.glob(f"{HOME}*"):
            shutil.rmtree(left, ignore_errors=True)  # a process of it may just be ending
        yield


def new(folder: Path, asked: Asked) -> Drill:
    """A drill that nobody sat for yet.

    Raises:
        UsageError: when the folder has one, which would be lost.
    """
    if (folder / FACTS).exists():
        raise UsageError(
            f"drill in {folder}", expected="a folder without a drill", got=FACTS, do="go on with --resume, or name another --out"
        )  # fmt: skip
    return Drill(folder, asked, code(), [], {name: [] for name in asked.faults})


def resumed(folder: Path, given: Mapping[str, Any]) -> Drill:
    """The drill of a folder, to go on with.

    Args:
        given: fields of `Asked` that the command names; the rest is as it was, and but for `repeats` must be.

    Raises:
        UsageError: when there is none, or it was asked for otherwise, or of other code.
    """
    drill = read(folder)
    for name, value in given.items():
        before = getattr(drill.asked, name)
        if name != "repeats" and value != before:
            raise UsageError(f"drill in {folder}: {name}", expected=before, got=value, do="resume it as it was begun")
    played = max(map(len, drill.played.values()), default=0)
    if given.get("repeats", played) < played:
        raise UsageError(f"drill in {folder}: repeats", expected=f"at least the {played} played", got=given["repeats"])
    if drill.code != (now := code()):
        was = drill.sittings[-1].commit if drill.sittings else "unknown"
        raise UsageError(
            f"drill in {folder}: code", expected=f"{drill.code[:12]} (commit {was})", got=f"{now[:12]} (commit {commit()})",
            do="resume it in a clone of that commit, or begin another",
        )  # fmt: skip
    drill.asked = msgspec.structs.replace(drill.asked, repeats=given.get("repeats", drill.asked.repeats))
    return drill


def read(folder: Path) -> Drill:
    """What a drill wrote. Raises UsageError when there is nothing, or something else."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        asked = msgspec.convert(facts["asked"], Asked)
        return Drill(
            folder,
            asked,
            facts["code"],
            msgspec.convert(facts["sittings"], list[Sitting]),
            {name: msgspec.convert(facts["faults"][name]["each"], list[Repeat]) for name in asked.faults},
        )
    except FileNotFoundError:
        raise UsageError(f"drill in {folder}", expected=FACTS, got="no such file", do="begin one with --out") from None
    except (ValueError, KeyError, TypeError) as error:  # json's and msgspec's own are ValueErrors
        raise UsageError(f"drill in {folder}", expected=f"a {FACTS} that a drill wrote", got=repr(error)) from error


def code(root: Path = ROOT) -> str:
    """SHA-256 over the code and configuration a drill runs, file by file, committed or not. A folder that has no Python of its
    own is no room: it may be that of a drill, which copies models into its home."""
    rooms = [one for one in root.iterdir() if one.name[0] != "." and one.name not in ASIDE and any(one.glob("*.py"))]
    files = [path for room in rooms for path in room.rglob("*") if path.suffix in CODE]
    files += [path for path in root.iterdir() if path.suffix in CODE]
    return digest_of({path.relative_to(root).as_posix(): digest_bytes(path.read_bytes()) for path in sorted(files)})
