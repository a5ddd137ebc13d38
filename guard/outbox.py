"""Delivers the outbox: every event to each of its channels, at least once, by a thread beside the judging.

Reads pending events from the ledger, hands them to `stores.notify`, notes each channel that took one. A channel that
fails keeps the event pending with a growing wait, bounded by the ledger, and does not keep it from the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from configs.schema import AlertsConfig, Settings
from errors import ConfigError, DeliveryFailed, GrownetError
from records import OutboxEvent
from stores import notify
from stores.ledger import outbox
from stores.ledger.engine import Ledger

log = logging.getLogger("grownet.guard")
ACTOR = "guard"
BATCH = 50
Send = Callable[[OutboxEvent], None]


def channels(event: OutboxEvent, settings: Settings, alerts: AlertsConfig) -> dict[str, Send]:
    """Where an event goes, quickest first: an alert to people by its level's route, and everything to Prefect.

    That something is over goes the way of warnings. A channel without an address in the settings is no channel.
    """
    found: dict[str, Send] = {}
    route = alerts.routes.get("warning" if event.level == "ok" else event.level) if event.kind == "alert" else None
    if route is not None and route.slack and settings.slack_url:
        found["slack"] = partial(notify.slack, settings.slack_url)
    if route is not None and settings.smtp_url:
        for address in route.email:
            found[f"email:{address}"] = partial(notify.email, settings.smtp_url, alerts.sender, address)
    found["prefect"] = partial(notify.prefect, settings.prefect_url)
    return found


class Courier:
    """One pass after another over the pending events, while `leads()` says so."""

    def __init__(self, ledger: Ledger, settings: Settings, alerts: AlertsConfig, leads: Callable[[], bool]) -> None:
        self._ledger, self._settings, self._alerts, self._leads = ledger, settings, alerts, leads
        self._down: dict[str, str] = {}  # kind of channel -> why, for a log line on change of state only
        self._unreadable: set[str] = set()  # rows that were told of
        self._at = ""  # the event in hand: what a thread died over waits, so that the next one gets past it

    def run(self, stop: threading.Event, seconds: float) -> None:
        """Until `stop`; a ledger that is away is asked again."""
        while not stop.wait(seconds):
            if self._leads():
                try:
                    self.deliver(stop)
                except GrownetError as error:
                    self._at = ""
                    log.warning("outbox: %s", error)

    def deliver(self, stop: threading.Event) -> int:
        """One pass over what is pending now; returns how many events all their channels have."""
        if self._at:
            outbox.failed(self._ledger, self._at, "the delivery died over it", ACTOR)
            self._at = ""
        events, bad = outbox.due(self._ledger, BATCH)
        self._set_aside(bad)
        failing: dict[str, str] = {}  # a channel that failed once is not tried again in this pass
        done = 0
        for event in events:
            self._at = event.id
            failures = self._send(event, channels(event, self._settings, self._alerts), failing, stop)
            if stop.is_set():  # what was sent is noted, the rest is due at once for the next guard
                break
            if failures:
                outbox.failed(self._ledger, event.id, "; ".join(failures), ACTOR)
            else:
                outbox.delivered(self._ledger, event.id, ACTOR)
                done += 1
        self._at = ""
        self._report(failing, bool(events))
        return done

    def _set_aside(self, bad: Mapping[str, str]) -> None:
        """A row nobody can read waits longer and longer, so that it does not stand before the others."""
        for row, reason in bad.items():
            if row not in self._unreadable:
                log.error("outbox row %s set aside: %s", row, reason)
            self._unreadable.add(row)
            outbox.failed(self._ledger, row, reason, ACTOR)

    def _send(
        self, event: OutboxEvent, wanted: Mapping[str, Send], failing: dict[str, str], stop: threading.Event
    ) -> list[str]:
        """Sends to the channels that have not had it; what failed, in words."""
        have = outbox.channels(self._ledger, event.id)
        failures = []
        for channel, send in wanted.items():
            if channel in have or stop.is_set():
                continue
            if channel not in failing:
                try:
                    send(event)
                except (DeliveryFailed, ConfigError) as error:
                    failing[channel] = str(error)
                else:
                    outbox.sent(self._ledger, event.id, channel, ACTOR)
                    continue
            failures.append(f"{channel}: {failing[channel]}")
        return failures

    def _report(self, failing: dict[str, str], tried: bool) -> None:
        for channel in failing.keys() - self._down.keys():
            log.warning("%s does not take messages: %s", channel, failing[channel])
        if tried:
            for channel in self._down.keys() - failing.keys():
                log.info("%s: no failure in this pass", channel)
            self._down = failing


class Delivery:
    """The courier's thread. One that died is begun again; the judging goes on meanwhile."""

    def __init__(self, courier: Courier, stop: threading.Event, seconds: float) -> None:
        self._work = lambda: courier.run(stop, seconds)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self._running: Future[None] = self._pool.submit(self._work)
        self._told = ""

    def keep(self) -> str:
        """Begins a dead courier again; returns why it died when that is another reason than the last time, else ""."""
        error = self._running.exception() if self._running.done() else None
        if error is None:
            return ""
        self._running = self._pool.submit(self._work)
        reason = f"{type(error).__name__}: {error}"
        if reason == self._told:
            return ""
        log.error("the outbox thread died and is begun again: %s", reason, exc_info=error)
        self._told = reason
        return reason

    def close(self) -> None:
        """Waits for the courier to end; `stop` is set before."""
        self._pool.shutdown()
