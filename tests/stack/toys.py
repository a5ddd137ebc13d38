"""Small real programs for a stack: one that serves, and ones that misbehave. `python -m tests.stack.toys HOME` runs a stack."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from configs.load import settings
from configs.schema import Settings
from stack import children, processes
from stack.processes import Stack, ending_on_signals
from stack.programs import HOST, Program, environment

SERVE = "import http.server as h, sys; h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()"
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""
FAILING = "import sys; print('the reason why', flush=True); sys.exit(3)"


def answers(_: Settings, port: int, __: object) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def program(name: str, code: str, *, listens: bool = False, seconds: float = 20, says: str = "") -> Program:
    return Program(
        name,
        lambda _, port: [sys.executable, "-c", code, str(port)],
        lambda chosen, _: environment(chosen, {}),
        answers if listens else lambda *_: True,
        seconds,
        listens=listens,
        says=says,
    )


def toys(**more: Program) -> dict[str, Program]:
    return {
        "web": program("web", SERVE, listens=True),
        "stubborn": program("stubborn", STUBBORN, says="ready"),
        "failing": program("failing", FAILING, says="never"),
        "mute": program("mute", "import time; time.sleep(600)", seconds=0.5, says="never said"),
        **more,
    }


def until(look: Callable[[], object], seconds: float = 30) -> bool:
    """Polls with a deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.05)
    return False


def main() -> None:
    """Runs a stack on a home until it is ended; prints its mark. Stubborn toys are waited for shortly."""
    children.GRACE_SECONDS = processes.STRAY_SECONDS = 0.5
    home = Path(sys.argv[1])
    with ending_on_signals(), Stack(settings({"GROWNET_HOME": str(home)}), programs=toys()) as stack:
        stack.start("web", "stubborn")
        print(stack.mark, flush=True)
        if sys.argv[2:] == ["fail"]:
            raise RuntimeError("the parent fails")
        time.sleep(600)


if __name__ == "__main__":
    main()
