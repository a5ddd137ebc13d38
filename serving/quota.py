"""How much feedback is taken within a minute: from one key, and from one key about one subject.

So a stolen key cannot move a KPI quickly, and one customer's flood does not count as many. Used by `serving.feedback`, on
the loop only. A window is a minute of the wall clock; two of them side by side may hold twice the cap.
"""

from __future__ import annotations

from collections import defaultdict

from errors import UsageError
from serving.wire import Refusal

WINDOW_SECONDS = 60


class Quota:
    """Counts of the running minute."""

    def __init__(self, per_key: int, per_subject: int) -> None:
        self._per_key, self._per_subject = per_key, per_subject
        self._window = -1
        self._keys: dict[str, int] = defaultdict(int)
        self._subjects: dict[str, int] = defaultdict(int)

    def of_key(self, key: str, now: float) -> None:
        """Counts an attempt by a key at `now` (seconds since the epoch). Raises Refusal 429."""
        self._take(self._keys, key, self._per_key, now)

    def of_subject(self, subject: str, now: float) -> None:
        """Counts feedback about a subject, named together with the key it came by. Raises Refusal 429."""
        self._take(self._subjects, subject, self._per_subject, now)

    def _take(self, counts: dict[str, int], name: str, most: int, now: float) -> None:
        if (window := int(now // WINDOW_SECONDS)) != self._window:
            self._window = window
            self._keys.clear()
            self._subjects.clear()
        if counts[name] >= most:
            wait = WINDOW_SECONDS - int(now % WINDOW_SECONDS)
            do = f"come back in {wait} s, or raise the cap in the configuration"
            error = UsageError("feedback", expected=f"at most {most} a minute", got="more", do=do)
            raise Refusal(429, error, ((b"retry-after", str(wait).encode()),))
        counts[name] += 1
