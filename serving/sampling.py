"""Whose features are kept in the journal: all, up to so many answers a second; above, so many a second.

Which ones is decided by the prediction id, so it can be said again from the id and the share. Used by `serving.predict`.
"""

from __future__ import annotations


class Sampling:
    """The rate of answers of this replica, over the last second and the running one."""

    def __init__(self, per_second: float) -> None:
        self._most = per_second
        self._since = self._rate = 0.0
        self._count = 0

    def share(self, now: float) -> float:
        """Counts an answer at `now` (monotonic seconds); the share of answers whose features are kept, 0 to 1."""
        since = now - self._since
        if since >= 1.0:
            self._rate, self._since, self._count = self._count / since, now, 0
        self._count += 1
        rate = max(self._rate, self._count)
        return 1.0 if rate <= self._most else self._most / rate
