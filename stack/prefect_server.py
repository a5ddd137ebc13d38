"""Runs `prefect server start` with the garbage collector in a thread of its own. Started by `stack.programs`.

After "database is locked" a dead cursor stays behind in a reference cycle. A collector on the event loop's thread closes
it and waits for the cursor's connection, which may be waiting, up to 60 s, for a lock that only the event loop can give
back: the server stands still. Beside the loop the collector waits alone. See docs/decisions/070-prefect-on-sqlite.md.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from itertools import count

YOUNG_SECONDS = 0.5
ALL_EVERY = 60  # young collections between two whole ones


def collect_beside() -> None:
    """Takes the collector off all threads and gives it one."""
    gc.disable()
    threading.Thread(target=_collect, name="garbage", daemon=True).start()


def _collect() -> None:
    for number in count(1):
        time.sleep(YOUNG_SECONDS)
        gc.collect(2 if number % ALL_EVERY == 0 else 1)


def main() -> None:
    """The rest of the command line is that of `prefect server start`."""
    collect_beside()
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
