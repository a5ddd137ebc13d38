"""The guard's process: every tick each model is looked at, judged, acted on and read back; alerts go out beside it.

Reads and writes the ledger; imports neither Prefect nor MLflow. Started by `grownet guard`, one or several: one leads by
a lease. A ledger that is away is asked again every tick; a model that cannot be judged does not disarm the others.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from types import FrameType

from checks.judge import judge, memory_of, state_of
from configs.schema import Config, Settings
from errors import GrownetError, LedgerUnavailable, RevisionConflict
from guard import alerts
from guard.alerts import Part
from guard.decide import canary_fell, decide
from guard.expiry import asked_besides, close_dead
from guard.lease import Leadership
from guard.outbox import ACTOR, Courier, Delivery
from guard.readback import arm_trips, lost_replicas, other_trips, read_back
from guard.rollout import Hand, carry_out
from guard.watch import View, Watch, look, restored
from records import GuardVerdict, Ruling, utc_now
from stores.ledger import outbox
from stores.ledger.engine import Ledger
from stores.ledger.signing import Signer
from stores.vault import Vault

log = logging.getLogger("grownet.guard")


class Guard:
    """What one guard process knows, tick after tick."""

    def __init__(self, ledger: Ledger, signer: Signer, config: Config, leadership: Leadership) -> None:
        self._ledger, self._signer, self._config, self._leadership = ledger, signer, config, leadership
        self._watches: dict[str, Watch] = {}
        self._failing: dict[tuple[str, Part], str] = {}  # what a part of a model's last tick failed with
        self.leads = False

    def tick(self) -> None:
        """One look at every model, while this guard leads.

        Raises:
            LedgerError: when the ledger is away.
        """
        epoch = self._leadership.keep()
        self.leads = epoch is not None
        if epoch is None:
            self._watches.clear()  # another guard moves on: start from the ledger when the lease comes back
            return
        hand = Hand(self._ledger, self._signer, self._config.defaults, epoch)
        for model in [*self._config.models, *asked_besides(self._ledger, self._config.models)]:
            self._guarded(hand, model, "ballot", close_dead)
            self._guarded(hand, model, "rollout", self._watched)

    def _guarded(self, hand: Hand, model: str, part: Part, work: Callable[[Hand, Watch], None]) -> None:
        """A part of one model's tick; whatever goes wrong with it is told once and does not reach the next: a ballot that
        nobody can read keeps no canary in production."""
        try:
            work(hand, self._watch(model))
        except LedgerUnavailable:
            raise
        except RevisionConflict as conflict:
            self._leadership.refused(conflict)
        except Exception as error:  # noqa: BLE001 - one bad model must not disarm the others
            self._failed(hand, model, part, error)
        else:
            if self._failing.pop((model, part), ""):
                log.info("%s: watched again%s", model, " (ballot)" if part == "ballot" else "")

    def _watch(self, model: str) -> Watch:
        """What is remembered of a model; until all of it is there, nothing is done from memory."""
        if model not in self._watches:
            self._watches[model] = restored(self._ledger, model)
        return self._watches[model]

    def _watched(self, hand: Hand, watch: Watch) -> None:
        if watch.model not in self._config.enabled:
            return  # only asked about, or switched off: no replica serves it, and what its plan says waits
        # a silent replica may still serve what it last said, until it drops its canary by itself
        view = look(self._ledger, self._signer.ring, watch, utc_now(), self._config.defaults.service.max_age_seconds)
        if view is None:
            return
        verdict = judge(view.seen, watch.memory)
        watch.memory = memory_of(verdict) if verdict else watch.memory  # in rules mode it waits for what comes back
        if verdict is not None and carry_out(hand, watch, view, verdict, self._ruled(hand, watch, view, verdict)):
            return  # the replicas were seen under the plan before
        if decide(hand, watch, view, watch.saved if verdict is not None else None, self._config):
            return
        arm_trips(hand, watch, view)
        other_trips(hand, watch, view)
        lost_replicas(hand, watch, view)
        read_back(hand, watch, view)

    def _ruled(self, hand: Hand, watch: Watch, view: View, verdict: GuardVerdict) -> Ruling | None:
        """The judge takes a canary back by itself; for its KPI, the table's ruling is kept with it."""
        fell = (verdict.arm, verdict.action, state_of(verdict)) == ("canary", "rollback", "kpi_drop")
        return canary_fell(hand, watch, view, verdict, self._config) if fell else None

    def _failed(self, hand: Hand, model: str, part: Part, error: Exception) -> None:
        said = str(error) if isinstance(error, GrownetError) else f"{type(error).__name__}: {error}"
        if self._failing.get((model, part)) != said:
            log.error("%s: %s: %s", model, part, said, exc_info=None if isinstance(error, GrownetError) else error)
            hand.tell([alerts.guard_failing(model, part, said, hand.defaults, utc_now())])
            self._failing[model, part] = said


def run(settings: Settings, config: Config, stop: threading.Event) -> None:
    """Guards until `stop` is set.

    Raises:
        WrongLedger: when the ledger is a demo's and the settings are not, or the other way round.
    """
    seconds = config.defaults.guard.tick_seconds
    ledger = _opened(settings, stop, seconds)
    if ledger is None:
        return
    signer = Vault.open(settings.home, "guard", settings.kms_key_uri).signer
    leadership = Leadership(ledger, _holder(), config.defaults.guard.lease_seconds)
    guard = Guard(ledger, signer, config, leadership)
    courier = Courier(ledger, settings, config.defaults.alerts, lambda: guard.leads)
    delivery = Delivery(courier, stop, seconds)
    log.info("guarding %s, a tick every %g s", ", ".join(config.enabled) or "no model", seconds)

    def tick() -> None:
        guard.tick()
        if died := delivery.keep():
            outbox.add(ledger, [alerts.courier_died(died, config.defaults, utc_now())], ACTOR)

    try:
        _ticking(tick, stop, seconds)
    finally:
        stop.set()
        delivery.close()
        _given_back(leadership)
        ledger.close()
        log.info("stopped")


def _ticking(tick: Callable[[], None], stop: threading.Event, seconds: float) -> None:
    away = False
    while not stop.wait(seconds):
        try:
            tick()
        except LedgerUnavailable as error:
            if not away:
                log.error("%s", error)
            away = True
        except RevisionConflict as conflict:  # two guards asked for the lease at once
            log.warning("%s", conflict)
        else:
            if away:
                log.info("the ledger answers again")
            away = False


def _opened(settings: Settings, stop: threading.Event, seconds: float) -> Ledger | None:
    """The ledger as soon as it answers; None when stopped before."""
    told = False
    while True:
        try:
            return Ledger.open(settings.ledger_url, "guard", demo=settings.demo)
        except LedgerUnavailable as error:
            if not told:
                log.error("%s", error)
            told = True
        if stop.wait(seconds):
            return None


def _given_back(leadership: Leadership) -> None:
    try:
        leadership.give_back()
    except LedgerUnavailable as error:
        log.warning("the lease was not given back, it runs out by itself: %s", error)


def _holder() -> str:
    return f"guard-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def main(settings: Settings, config: Config) -> None:
    """`grownet guard`: plain lines on stdout, ends on SIGTERM and SIGINT."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # one line per request is no news
    stop = threading.Event()

    def ended(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)
    before = {one: signal.signal(one, ended) for one in signals}
    try:
        run(settings, config, stop)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
