"""A text that redaction would change refuses the batch; what it leaves is let in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from checks.redact import redact
from expectations.messages import SUITE
from tasks.expect import judge

NOW = datetime(2012, 1, 1, tzinfo=UTC)
RAW = {
    "numbers_redacted": "call 0770 - 090 - 012",
    "addresses_redacted": "write to jose\u0301&bob@example.org",
    "links_redacted": "see exämple.de/ada",
    "signs_folded": "at 7\u200b7",
}


def refused(texts: list[str]) -> list[str]:
    times = pd.to_datetime([NOW - timedelta(hours=at + 1) for at in range(len(texts))]).as_unit("us")
    frame = pd.DataFrame({"received_at": times, "text": pd.Series(texts, dtype="str"), "is_spam": False})
    rows = pa.Table.from_pandas(frame.astype({"is_spam": "boolean"}), preserve_index=False)
    return [one.partition(":")[0] for one in judge(rows, np.full(len(texts), "", dtype=object), SUITE, NOW).refused]


def test_each_kind_of_text_that_escaped_refuses_the_batch() -> None:
    assert set(RAW) <= set(refused(["fine", *RAW.values()]))


def test_what_redaction_leaves_is_let_in() -> None:
    assert refused([f"fine {at}" for at in range(20)] + [redact(text) for text in RAW.values()]) == []
