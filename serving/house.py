"""What all models of a replica share: journal, keys, ids, metrics, the break-glass state, and the answers still open.

Made once by `serving.service`; handed to the functions that answer.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import OrderedDict
from typing import Any

import msgspec

from checks.prediction_ids import mint
from configs.schema import ServiceConfig, Settings
from errors import GrownetError
from records import ReleasePlan
from serving.answer import Choice
from serving.metrics import Metrics
from serving.quota import Quota
from serving.sampling import Sampling
from serving.shelf import Shelf
from serving.turn import Turns
from serving.wire import Refusal
from stores.journal import Journal
from stores.lookup import Found, Located
from stores.segments import Place
from stores.vault import Vault

REMEMBERED = 200_000  # answers whose feedback is matched without reading the journal


class Waiting(msgspec.Struct):
    """An answer that may get feedback. `pending`: a score beside it is still to come."""

    place: Place | None  # None: it is `shipped`, and not on this disk any more
    paired: Place | None = None
    pending: bool = False
    fed: bool = False
    outcome: Any = None  # feedback that came before the score beside it
    shipped: Found | None = None


class Recent:
    """The newest answers by prediction id, bounded. Only the loop's own thread comes here."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[str, Waiting] = OrderedDict()

    def add(self, prediction_id: str, waiting: Waiting) -> Waiting:
        """Remembers; what is known already stays as it is."""
        known = self._known.setdefault(prediction_id, waiting)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return known

    def get(self, prediction_id: str) -> Waiting | None:
        return self._known.get(prediction_id)

    def found(self, prediction_id: str, located: Located) -> Waiting:
        """Remembers what was looked up in the journal, unless it is known by now."""
        return self.add(prediction_id, Waiting(place=located.answer, paired=located.paired, fed=located.fed))


class House:
    """The shared parts of one replica."""

    def __init__(self, settings: Settings, service: ServiceConfig, journal: Journal, vault: Vault) -> None:
        self.home, self.replica, self.journal, self.vault = settings.home, settings.replica, journal, vault
        self.limits, self.metrics = service, Metrics()
        self.recent, self.turns = Recent(), Turns()
        self.sampling = Sampling(service.features_per_second)
        self.searching = asyncio.Semaphore(1)  # a search of the disk for an old answer takes a core
        self.shelf = Shelf(settings.lake_uri, journal.folder)
        self.quota = Quota(service.feedback_per_minute, service.feedback_per_subject)
        self.url = ""
        self.forced = ""  # the reason in the break-glass file
        self._boot, self._serial = secrets.token_hex(4), itertools.count()

    def new_id(self, plan: ReleasePlan, choice: Choice, minute: int) -> str:
        """A prediction id that is unique over replicas and restarts."""
        front = f"{plan.model}.{choice.arm}.v{choice.version}.r{plan.revision}"
        back = f"{self.replica}.{self._boot}-{next(self._serial):x}"
        return mint(front, minute, back, self.vault.feedback_mac)


def unavailable(thing: str, got: str, retry_after: int, do: str = "try again") -> Refusal:
    """503 with Retry-After."""
    error = GrownetError(thing, expected="to answer", got=got, do=do)
    return Refusal(503, error, ((b"retry-after", str(retry_after).encode()),))
