"""Delivers the outbox: every event to each of its channels, at least once, by a thread beside the judging.

Reads pending events from the ledger, hands them to `stores.notify`, notes each channel that took one. A channel that
fails keeps the event pending with a growing wait, bounded by the ledger, and does not keep it from the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
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

    A channel without an address in the settings is no channel.
    """
    found: dict[str, Send] = {}
    route = alerts.routes.get(event.level) if event.kind == "alert" and event.level != "ok" else None
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

    def run(self, stop: threading.Event, seconds: float) -> None:
        """Until `stop`; a ledger that is away is asked again."""
        while not stop.wait(seconds):
            if self._leads():
                try:
                    self.deliver(stop)
                except GrownetError as error:
                    log.warning("outbox: %s", error)

    def deliver(self, stop: threading.Event) -> int:
        """One pass over what is pending now; returns how many events all their channels have."""
        events = outbox.pending(self._ledger, BATCH)
        failing: dict[str, str] = {}  # a channel that failed once is not tried again in this pass
        done = 0
        for event in events:
            failures = self._send(event, channels(event, self._settings, self._alerts), failing, stop)
            if stop.is_set():  # what was sent is noted, the rest is due at once for the next guard
                break
            if failures:
                outbox.failed(self._ledger, event.id, "; ".join(failures), ACTOR)
            else:
                outbox.delivered(self._ledger, event.id, ACTOR)
                done += 1
        self._report(failing, bool(events))
        return done

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
