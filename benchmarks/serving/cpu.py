"""CPU seconds of a process and all it started, also of those that have ended."""

from __future__ import annotations

import psutil


class Tree:
    """The processes below one, from now on."""

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)
        self._seen: dict[tuple[int, float], float] = {}

    def seconds(self) -> float:
        """User and system time of all that were seen at any look; a process counts what it had at the last."""
        for process in [self._top, *self._children()]:
            try:
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:  # it ended while we were looking
                continue
        return sum(self._seen.values())

    def unique_bytes(self) -> int:
        """Memory that would be given back if they all ended."""
        total = 0
        for process in [self._top, *self._children()]:
            try:
                total += process.memory_full_info().uss
            except psutil.Error:
                continue
        return total

    def _children(self) -> list[psutil.Process]:
        try:
            return list(self._top.children(recursive=True))
        except psutil.Error:
            return []
