"""One worker of a set: `python -m serving.worker LISTENER LIFELINE GRPC_PORT SIBLING...`, started by `serving.workers` only.

LISTENER and LIFELINE are open descriptors. The lifeline is the read end of a pipe that only the supervisor can write
to: its end is the supervisor's end, however that came, and this worker drains and leaves.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

from configs.load import load, settings
from errors import GrownetError
from serving.server import Membership, serve, start_logging

MARGIN_SECONDS = 15.0  # beyond the drain; for threads that end and the journal


class Lifeline:
    """Asks this process to leave when the supervisor is gone, and ends it when it does not."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        self.holds = True
        self._descriptor, self._seconds = descriptor, seconds
        threading.Thread(target=self._wait, name="lifeline", daemon=True).start()

    def _wait(self) -> None:
        while os.read(self._descriptor, 1):
            pass
        self.holds = False
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._seconds)
        os._exit(1)  # something hangs, and nobody is left to end it


def main(arguments: list[str]) -> int:
    """Serves until the end; the exit code is that of the error."""
    listener, lifeline, grpc_port, *others = arguments
    start_logging()
    try:
        chosen = settings()
        config = load(chosen.configs)
        limits = config.defaults.service
        line = Lifeline(int(lifeline), limits.drain_lag_seconds + limits.drain_seconds + MARGIN_SECONDS)
        outside = socket.socket(fileno=int(listener))
        member = Membership(outside, tuple(others), lambda: line.holds)
        serve(chosen, config, member, outside.getsockname()[0], int(grpc_port) if grpc_port else None)
    except GrownetError as error:
        sys.stderr.write(f"grownet: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
