"""What is measured against peers or floors in the same run: one file or folder a question."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a benchmark's small processes do without
    import pandas as pd

Facts = dict[str, Any]
HERE = Path(__file__).parent


def questions() -> list[str]:
    """The questions there are: the files and folders here that have a `main`."""
    asking = {path.stem: path for path in HERE.glob("*.py")} | {
        path.parent.name: path for path in HERE.glob("*/__init__.py")
    }
    return sorted(name for name, path in asking.items() if "\ndef main(" in path.read_text(encoding="utf-8"))


def parts(folder: str) -> list[str]:
    """The files of a question that is a folder; one whose name begins with _ belongs to another."""
    return sorted(path.stem for path in (HERE / folder).glob("*.py") if path.stem[0] != "_")


@functools.cache
def bundled(model: str) -> dict[str, pd.DataFrame]:
    """The tables of a model, from the bundled files, as the lake gives them; subjects are as they were, not masked."""
    from configs.load import load

    config = load()
    return {alias: rows(dataset) for alias, dataset in config.models[model].tables.items()}


@functools.cache
def rows(dataset: str) -> pd.DataFrame:
    """A bundled dataset through the door's own typing and redaction; subjects are as they were."""
    import pyarrow as pa

    from configs.load import load
    from tasks.minimise import minimise
    from tasks.sources import file_chunks

    declared = load().datasets[dataset]
    typed = [minimise(chunk, declared, lambda subjects: subjects.astype("str")) for chunk in file_chunks(declared)]
    return pa.concat_tables(one.rows for one in typed).to_pandas()
