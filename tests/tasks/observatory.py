"""A town whose version 1 serves and can be monitored: its bundle has a training reference, its journal is written here.

`Observatory(folder)`; `said(hour, count)` journals answers that the real model gives, with their feedback; `monitor()`
is one run. Windows are days; event time is that of `NOW`, as in live traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from msgspec.structs import replace

from checks import plans as moves
from checks.assignment import bucket
from configs import load as loading
from models.recommendation import Request
from records import Answer, Arm, Feedback, Finding
from stores.journal import Journal
from stores.segments import minute_of
from tasks import monitor as monitoring
from tasks.eyes import Eyes
from tasks.profiling import read_journals
from tasks.reference import training_reference
from tasks.trial import Split, Trial
from tests.serving.town import AS_OF, NAME, Town

NOW = datetime(2026, 11, 10, tzinfo=UTC)
MONITOR = {
    "window_hours": 24,
    "windows": 3,
    "drifted_windows": 2,
    "min_rows": 50,
    "reference_days": 10,
    "block_days": 1,
    "kpi_windows": 3,
    "report_rows": 500,
    "missing_limit": 0.3,
}
CUSTOMERS = [str(number) for number in range(0, 60, 2)]


class Observatory(Town):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = self.configs / f"{NAME}.yaml"
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe["monitor"] = MONITOR
        recipe["split"] = {"holdout_days": 5, "validation_days": 5, "outcome_days": 5}
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        self.config = loading.load(self.configs)
        self.draw = np.random.default_rng(5)
        self.serial = 0
        self.clock = NOW
        self._journals: dict[str, Journal] = {}

    def close(self) -> None:
        self.close_journals()
        super().close()

    def close_journals(self) -> None:
        """The processes that wrote there end: their segments are sealed."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def prepare(self) -> None:
        """What `answers` needs of a home that was copied: the fitted model."""
        _, params, _ = self._prepared()
        self._fitted = self.model.fit(self._tables(), AS_OF, params, 0)

    def reference(self) -> dict[str, bytes]:
        """As training makes it, from the ten days before the newest row."""
        _, params, policy = self._prepared()
        trial = Trial(self.model, self._tables(), {"orders": "invoice_date"}, params, 1)
        newest = trial.tables["orders"]["invoice_date"].max().to_pydatetime()
        moments = Split(cut=newest - timedelta(days=5), end=newest, now=newest + timedelta(microseconds=1))
        fitted = trial.fit(moments.cut)
        return training_reference(trial, fitted, self.config.models[NAME], moments, policy)

    def watched(self, number: int = 1) -> Arm:
        """A version with its reference, at 100 %."""
        arm = self.candidate(number, reference=self.reference())
        self.begin(arm)
        while (plan := self.plan()).canary is not None:
            self.guard(moves.advance)
        assert plan.champion.number == number
        return plan.champion

    def journal(self, replica: str = "replica-1") -> Journal:
        if replica not in self._journals:
            folder = self.folder / "journal" / replica
            self._journals[replica] = Journal(folder, segment_bytes=1 << 20, fsync_seconds=60)
        return self._journals[replica]

    def answers(self, start: datetime, count: int, **tweaks: Any) -> list[Answer]:
        """What version 1 says to random customers within a day, spread over it; `tweaks` replace fields of a request."""
        given = tweaks.pop("customers", CUSTOMERS)
        name = self.pseudonym
        chosen = [name(given[self.draw.integers(len(given))]) for _ in range(count)]
        requests = [Request(**{"customer": who, **tweaks}) for who in chosen]
        frame, _, policy = self._prepared()
        index = self.model.index(frame)
        decided = self.model.decide(self.model.predict(self._fitted, index, requests), requests, index, policy)
        plan, lines = self.plan(), []
        for at, (who, request, decision) in enumerate(zip(chosen, requests, decided, strict=True)):
            self.serial += 1
            when = start + timedelta(days=1) * (at / count)
            lines.append(
                Answer(
                    prediction_id=self.id_of(when), model=NAME, arm="champion", version=plan.champion.number,
                    artifact=plan.champion.artifact.content if plan.champion.artifact else "", revision=plan.revision,
                    event_time=when, received_at=when, subject=who, bucket=bucket(plan.salt, who), decision=decision,
                    overruled=bool(decision.overruled), features=msgspec.to_builtins(request), salt=plan.salt,
                )
            )  # fmt: skip
        return lines

    def id_of(self, when: datetime, replica: str = "replica-1") -> str:
        return f"{NAME}.champion.v1.r1.{minute_of(when)}.{replica}.{self.serial:08x}-1.{'0' * 32}"

    def next_id(self, when: datetime) -> str:
        self.serial += 1
        return self.id_of(when)

    def by_rules(self, line: Answer) -> Answer:
        """The same request, as the rules would have been asked."""
        return replace(line, prediction_id=self.next_id(line.event_time), arm="rules", version=0, artifact="")

    def feedback(self, line: Answer, bought: Sequence[str] = ("20000",), late: timedelta = timedelta()) -> Feedback:
        when = line.event_time + late
        return Feedback(
            prediction_id=line.prediction_id, model=NAME, outcome={"purchased": list(bought)}, event_time=when,
            received_at=when, key="test",
        )  # fmt: skip

    def said(self, start: datetime, count: int, **tweaks: Any) -> list[Answer]:
        """Answers of a day, in the journal."""
        lines = self.answers(start, count, **tweaks)
        self.journal().append(*lines)
        return lines

    def monitor(self, now: datetime | None = None, until: str = "") -> list[Finding]:
        """One run, at a wall clock of our own."""
        with monitoring.watching(self.settings, self.config, until) as watch:
            seat = changed(watch, now=now or self.clock)
            read_journals(self.settings, self.config, seat.ledger, seat.eyes, seat.now)
            return monitoring.judged(seat, NAME)

    def read(self, now: datetime | None = None) -> int:
        with monitoring.watching(self.settings, self.config) as watch:
            return read_journals(self.settings, self.config, watch.ledger, Eyes(self.settings), now or self.clock)
