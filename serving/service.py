"""A replica put together: for each enabled model a desk and a follower, and what they share. Starts and ends threads.

Writes `home/journal/REPLICA` and `home/serving/REPLICA`; reads vault, ledger and artifact store. Made by
`serving.server`; it starts and answers without ledger, store and MLflow from what it kept.
"""

from __future__ import annotations

import functools
import logging
import threading

from checks.prediction_ids import REPLICA
from configs.schema import Config, Settings
from errors import ConfigError, LedgerUnavailable, NotFound
from models import contract
from records import utc_now
from serving.admission import Door
from serving.cache import Cache
from serving.counting import Tally
from serving.desk import Desk
from serving.follow import Follower
from serving.house import House
from serving.keys import Ring, path_of
from serving.loader import Loader
from serving.local import Local
from serving.reporter import Link, Reporter
from stores.artifacts import Artifacts
from stores.journal import Journal
from stores.vault import Vault

log = logging.getLogger(__name__)


class Service:
    """One replica.

    Raises:
        ConfigError: for a replica name that is no file name, and for a model whose configuration does not fit it.
        TamperError: for a lost or spoilt keyset.
        WrongLedger: for a demo ledger outside the demo, and the other way round.
        StackError: when another process answers under this replica's name.
    """

    def __init__(self, settings: Settings, config: Config) -> None:
        if not REPLICA.match(settings.replica):
            raise ConfigError([f"GROWNET_REPLICA: expected letters, digits, '.', '_' or '-', got {settings.replica!r}"])
        limits = config.defaults.service
        vault = Vault.open(settings.home, "serving", settings.kms_key_uri)
        self.link = Link(settings.ledger_url, settings.demo)
        self._look_at_ledger()
        folder, tally = settings.home / "journal" / settings.replica, Tally()
        journal = Journal(
            folder,
            segment_bytes=limits.segment_bytes,
            fsync_seconds=limits.fsync_seconds,
            segment_seconds=limits.segment_seconds,
            reserve_bytes=limits.journal_reserve_bytes,
            wrote=tally.wrote,
        )
        self.house = House(settings, limits, journal, vault)
        self.reporter = Reporter(self.link, folder, tally, self.house.metrics)
        self.ring = Ring(path_of(settings))
        self._off = frozenset(config.models) - frozenset(config.enabled)
        self.desks: dict[str, Desk] = {}
        self.followers: list[Follower] = []
        for name in contract.names():
            if name in config.enabled:
                self._open(name, settings, config, Artifacts(settings.artifacts_uri, vault.encrypt, vault.decrypt))
        self.local = Local(self.house, self.desks.values(), self.ring, settings.home / "serving" / settings.replica)
        self.draining = False
        self._stop = threading.Event()
        self._follow_seconds = limits.follow_seconds
        self._loader = Loader()

    def start(self) -> None:
        """Takes up the cached plans and starts the threads."""
        self.local.look()
        for follower in self.followers:
            follower.begin()
        ticks = [functools.partial(one.tick, self.link, self._loader, self.reporter) for one in self.followers]
        follow = [
            threading.Thread(
                target=follower.run, args=(self._stop, self._follow_seconds, tick), name=f"follow-{name}", daemon=True
            )
            for name, follower, tick in zip(self.desks, self.followers, ticks, strict=True)
        ]
        self.local.threads = [*follow, self.reporter.thread]
        for thread in (*self.local.threads, self.local.thread):
            thread.start()

    def close(self) -> None:
        """Ends the threads, tells the ledger what is left, and seals the journal."""
        self.draining = True
        self._stop.set()
        self.local.close()
        for thread in self.local.threads[:-1]:
            thread.join(timeout=10)
        self._loader.close()  # after those that give it work
        self.reporter.close()
        for desk, follower in zip(self.desks.values(), self.followers, strict=True):
            desk.close()
            follower.close()
        self.house.shelf.close()
        self.house.journal.close()
        self.link.close()

    def desk(self, model: str) -> Desk:
        """Raises NotFound for a model that is not served here, saying so when it is switched off."""
        if model in self._off:
            do = f"set enabled: true in configs/{model}.yaml and restart the service"
            raise NotFound(f"model {model!r}", expected="enabled: true", got="switched off", do=do)
        if model not in self.desks:
            raise NotFound(f"model {model[:64]!r}", expected=f"one of {sorted(self.desks)}", got=model[:64])
        return self.desks[model]

    @property
    def ready(self) -> bool:
        """True once every model has a plan to answer by, and its arms were tried."""
        return not self.draining and all(follower.ready for follower in self.followers)

    @property
    def degraded(self) -> list[str]:
        """Why this replica does not serve all that the plans say."""
        reasons = [f"break glass: {self.house.forced}"] if self.house.forced else []
        reasons += [f"thread {name} died" for name in self.local.dead]
        reasons += [trouble] if (trouble := self.house.journal.trouble) else []
        for name, desk in self.desks.items():
            reasons += [f"{name}: {trouble}" for trouble in desk.trouble]
            view = desk.view
            if view is None:
                reasons.append(f"{name}: no plan yet")
            else:
                reasons += [f"{name}: {arm} is not loaded" for arm in view.missing]
                reasons += [f"{name}: {old}" for old in view.too_old(desk.config.refresh.max_age_hours, utc_now())]
                reasons += [f"{name}: {content[:12]} was dropped here" for content in sorted(view.tripped)]
        return reasons

    def _open(self, name: str, settings: Settings, config: Config, artifacts: Artifacts) -> None:
        model, limits = contract.find(name), config.defaults.service
        cache = Cache(settings.home / "serving" / settings.replica / name, artifacts, self.house.vault)
        ring = self.house.vault.verifier
        door = Door(
            name=name,
            model=model,
            store=cache,
            verify=ring.verify,
            roles=config.defaults.approval.roles["promote"],
            waiting=limits.max_concurrency,
            waiting_beside=limits.shadow_queue,
        )
        desk = Desk(config.models[name], limits, model, replica=settings.replica, tell=self.reporter.trip)
        self.desks[name] = desk
        self.followers.append(Follower(self.house, desk, door, cache, ring))

    def _look_at_ledger(self) -> None:
        """A wrong ledger is refused here; one that is away is waited for while the cache answers."""
        try:
            self.link.ledger()
        except LedgerUnavailable as error:
            log.warning("starting without the ledger: %s", error)
