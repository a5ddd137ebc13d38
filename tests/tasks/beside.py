"""Journals with a shadow in them, written by hand: answers of the champion, the candidate's scores beside them, feedback.

`asked` is the shadow; `answer(3)` and `score(answer(3), "x")` are lines; `journals(root)` reads what was written there.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from records import Answer, Feedback, utc_now
from stores.journal import Journal
from stores.lake import Lake
from stores.segments import minute_of
from stores.shipped import Shipped
from tasks.reading import Journals
from tasks.shadow_pairs import About
from tests.stores.ledger.world import MODEL, arm

NOW = utc_now()
CHAMPION, CANDIDATE = arm(1), arm(2)
asked = About(MODEL, "salt", CHAMPION, CANDIDATE, NOW - timedelta(hours=1), window_seconds=0.0)


def answer(serial: int, *items: str, replica: str = "one", **changes: Any) -> Answer:
    """What the champion replied; each answer a second after the one before."""
    when = NOW + timedelta(seconds=serial)
    made = Answer(
        prediction_id=f"{MODEL}.champion.v1.r2.{minute_of(NOW)}.{replica}.{serial:08x}-1.{'0' * 32}", model=MODEL,
        arm="champion", version=1, artifact=content(1), revision=2, event_time=when, received_at=when,
        subject=f"p1_{serial}", bucket=serial % 200, decision=decision(*(items or ("a", "b"))), salt="salt",
    )  # fmt: skip
    return replace(made, **changes)


def score(live: Answer, *items: str, **changes: Any) -> Answer:
    """What the candidate said to the same request."""
    made = replace(
        live, prediction_id=live.prediction_id.replace(".champion.v1.", ".canary.v2.").replace("-1.", "-2."),
        arm="canary", version=2, artifact=content(2), decision=decision(*(items or ("a", "b"))),
        paired_with=live.prediction_id, features=None,
    )  # fmt: skip
    return replace(made, **changes)


def feedback(live: Answer, *bought: str, late: timedelta = timedelta()) -> Feedback:
    when = live.event_time + late
    return Feedback(
        prediction_id=live.prediction_id, model=MODEL, outcome={"purchased": list(bought)}, event_time=when,
        received_at=when, key="test",
    )  # fmt: skip


def decision(*items: str) -> dict[str, Any]:
    return {"items": list(items), "scores": [1.0] * len(items), "value": None, "overruled": []}


def content(version: int) -> str:
    found = {1: CHAMPION, 2: CANDIDATE}[version].artifact
    assert found is not None
    return found.content


def journals(root: Path) -> Journals:
    """The replicas' folders below `root`, and its lake."""
    return Journals(root / "journal", Shipped(Lake(str(root / "lake"))))


def journal(root: Path, replica: str = "one", segment_bytes: int = 1 << 20) -> Journal:
    return Journal(root / "journal" / replica, segment_bytes=segment_bytes, fsync_seconds=60)
