"""A model whose code is slow or raises when a file says so, for the scenarios `slow`, `raises` and those of shadows.

`models_folder` copies `models/` and adds two lines to one of them; a service started there runs its own code unchanged over
that model. The file FAULT holds the fault as JSON; without it the model is sound.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from records import digest_of

VARIABLE = "RELIABILITY_FAULT"  # where the file is
ADDED = "\n\nfrom benchmarks.reliability import faulty\n\nload, predict = faulty.obeying(load, predict)\n"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What a version does with every request."""

    files: str  # digest of the model's files, see `files_digest`
    sleep_seconds: float = 0.0
    spin_seconds: float = 0.0  # of computing, which keeps the interpreter's lock
    raises: bool = False


def models_folder(folder: Path, root: Path, name: str) -> Path:
    """A working directory in which the model `name` obeys; all but `models/` comes from the house at `root`."""
    shutil.copytree(root / "models", folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "grownet.py", folder)  # puts its own folder first on the path
    with (folder / "models" / f"{name}.py").open("a", encoding="utf-8") as file:
        file.write(ADDED)
    return folder


def set_fault(path: Path, fault: Fault | None) -> None:
    """The fault from now on; None ends it."""
    if fault is None:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(fault))
    temporary.replace(path)


def files_digest(files: Mapping[str, bytes]) -> str:
    """Names a version by what its `dump` wrote."""
    return digest_of({name: data.hex() for name, data in sorted(files.items())})


def obeying(load: Callable[..., Any], predict: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two functions of a model, `predict` doing what the file says."""
    path = Path(os.environ[VARIABLE])
    versions: dict[int, str] = {}

    @functools.wraps(load)
    def loaded(files: Mapping[str, bytes]) -> Any:
        fitted = load(files)
        versions[id(fitted)] = files_digest(files)
        return fitted

    @functools.wraps(predict)
    def predicted(fitted: Any, index: Any, requests: Sequence[Any]) -> Any:
        try:
            fault = msgspec.json.decode(path.read_bytes(), type=Fault)
        except FileNotFoundError:
            return predict(fitted, index, requests)
        if versions.get(id(fitted)) == fault.files:
            time.sleep(fault.sleep_seconds)
            end = time.monotonic() + fault.spin_seconds
            while time.monotonic() < end:
                pass
            if fault.raises:
                raise ZeroDivisionError("as the scenario wants it")
        return predict(fitted, index, requests)

    return loaded, predicted
