"""A question-and-answer site small enough to see every feature by eye."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

NOW = datetime(2012, 6, 1, tzinfo=UTC)
Post = tuple[str | None, float, int, int]  # who, days before NOW, kind (1 question, 2 answer), score


def tables(
    accounts: Sequence[tuple[str, float]], posts: Sequence[Post], badges: Sequence[tuple[str, float]] = ()
) -> dict[str, pd.DataFrame]:
    """Tables as the lake gives them; times are days before NOW."""
    return {
        "users": pd.DataFrame(
            {"id": [who for who, _ in accounts], "creation_date": _times([at for _, at in accounts])}
        ),
        "posts": pd.DataFrame(
            {
                "id": range(len(posts)),
                "post_type_id": [kind for *_, kind, _ in posts],
                "creation_date": _times([at for _, at, *_ in posts]),
                "score": [score for *_, score in posts],
                "owner_user_id": pd.Series([who for who, *_ in posts], dtype="str"),
            }
        ),
        "badges": pd.DataFrame(
            {
                "id": range(len(badges)),
                "user_id": pd.Series([who for who, _ in badges], dtype="str"),
                "date": _times([at for _, at in badges]),
            }
        ),
    }


def _times(days: Sequence[float]) -> pd.Series:
    return (pd.Timestamp(NOW) - pd.to_timedelta(pd.Series(days, dtype="float64"), unit="D")).dt.as_unit("us")
