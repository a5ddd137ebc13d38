"""Ends what is left of a stack when the process that started it is gone, however it went (kill -9 included).

Started by processes.py as `python -m stack.watchdog MARK SECONDS` in a session of its own, with a pipe from its parent
as standard input: the end of that pipe is the parent's end. It ends exactly the processes that carry the stack's
mark in their environment, which all descendants inherit, whatever session or group they moved to.
"""

from __future__ import annotations

import signal
import sys

import psutil

MARK = "STACK_OF_GROWNET"  # not GROWNET_*: those are settings, and unknown ones are refused


def marked(mark: str) -> list[psutil.Process]:
    """The living processes of the stack with this mark, without the caller."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    own = psutil.Process().pid
    return [process for process in found if process.pid != own]


def sweep(mark: str, seconds: float) -> int:
    """Asks every marked process to end, waits at most `seconds`, then ends the rest. Returns how many there were."""
    found = marked(mark)
    _signal(found, signal.SIGTERM)
    psutil.wait_procs(found, timeout=seconds)
    while left := marked(mark):  # again: a process may have been started between the look and the signal
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=1)
        found += [process for process in left if process not in found]
    return len(found)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def main() -> None:
    """Waits for the end of standard input, then sweeps."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it leaves last, by the end of the pipe only
    mark, seconds = sys.argv[1], float(sys.argv[2])
    sys.stdin.buffer.read()
    sweep(mark, seconds)


if __name__ == "__main__":
    main()
