"""The three bundled series with real drift, in time order, on a grid of windows; and what is said of their columns.

Reads data/NAME/NAME.parquet. A series knows when each label becomes known (`due`): nothing here looks at it before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from configs.schema import Defaults, MonitorConfig
from errors import NotFound
from models.contract import Feature

DATA = Path(__file__).resolve().parents[2] / "data"
WEEK = timedelta(days=7)
WEEK_ROWS = 100  # of 168 hours
SPREAD_ROWS = 25  # calls in a row that count as one unit of the KPI's variance; elsewhere it is the day
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Window(NamedTuple):
    """Rows [first, last) of a series, and the time they cover."""

    first: int
    last: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Series:
    """Rows in time order with the columns time, due, label, unit (of the KPI's variance) and rule (the control's answer).

    `given` names a column that holds the first model's answers, where the data brings one.
    """

    name: str
    title: str
    rows: pd.DataFrame
    watched: tuple[Feature, ...]
    kind: Literal["probability", "amount"]
    grid: tuple[Window, ...]
    start: int  # first window that is replayed; what lies before it is the training stretch
    held: int  # windows at the end of what is known that a model does not learn from
    change: datetime  # the known or visible change
    about: str  # what the change is
    rule: str  # what the control policy answers
    delay: timedelta  # from the answer to its label
    weeks: bool  # the windows are weeks of hours; else so many rows
    given: str = ""


def names() -> list[str]:
    """The series there are."""
    return sorted(MAKERS)


def series(name: str) -> Series:
    """One of them, from its file. Raises NotFound for a name there is no file of."""
    if name not in MAKERS:
        raise NotFound(f"series {name!r}", expected=f"one of {names()}", got=name, do="choose one with --data")
    return MAKERS[name](pd.read_parquet(DATA / name / f"{name}.parquet"))


def settings(one: Series, defaults: Defaults) -> MonitorConfig:
    """The house's monitor settings; of a week of hours it cannot ask for as many rows as of a day of answers."""
    changes = {"window_hours": 168, "min_rows": WEEK_ROWS} if one.weeks else {}
    return MonitorConfig.model_validate({**defaults.model["monitor"], **changes})


def bank_marketing(raw: pd.DataFrame) -> Series:
    """Calls of a bank, 500 a window; 24 windows (12,000 calls) to learn from."""
    dates = call_times(raw["month"])
    rows = raw.assign(time=dates, label=raw["y"].astype("float64"), unit=np.arange(len(raw)) // SPREAD_ROWS)
    rows["pdays"] = rows["pdays"].where(rows["pdays"] < 999).astype("float64")  # 999 is "never called before"
    rows["due"] = rows["time"] + WEEK
    watched = (
        *(_number(name, low, high) for name, low, high in BANK_NUMBERS),
        *(_text(name) for name in BANK_NAMES),
    )
    return Series(
        name="bank_marketing",
        title="Bank Marketing: who takes the deposit, May 2008 to November 2010",
        rows=rows.assign(rule=latest_rate(rows, 1000)),
        watched=watched,
        kind="probability",
        grid=by_rows(rows, 500),
        start=24,
        held=4,
        change=datetime(2008, 10, 1, tzinfo=rows["time"].dt.tz),
        about="the economy turns: from October 2008 the three-month rate falls from 5 % to below 1 %, and those who are "
        "still called take the deposit ten times as often",
        rule="the rate of the last 1,000 known labels",
        delay=WEEK,
        weeks=False,
    )


def bike_sharing(raw: pd.DataFrame) -> Series:
    """Hours of a bicycle hire, a week a window; the 52 weeks of 2011 to learn from."""
    time = (raw["dteday"] + pd.to_timedelta(raw["hr"], unit="h")).dt.as_unit("us").dt.tz_localize("UTC")
    rows = raw.assign(time=time, label=raw["cnt"].astype("float64"), unit=time.dt.floor("D").astype("int64"))
    rows["due"] = rows["time"] + timedelta(days=1)
    for flag in ("holiday", "workingday"):
        rows[flag] = rows[flag].astype("bool")
    before = rows.set_index("time")["label"]
    rows["rule"] = before.reindex(rows["time"] - WEEK).to_numpy()
    watched = (
        *(_number(name, low, high) for name, low, high in BIKE_NUMBERS),
        Feature(name="holiday", dtype="bool", meaning="a public holiday"),
        Feature(name="workingday", dtype="bool", meaning="neither weekend nor holiday"),
    )
    grid = by_time(rows, WEEK, 0)
    return Series(
        name="bike_sharing",
        title="Bike Sharing: hires by the hour, Washington 2011 to 2012",
        rows=rows,
        watched=watched,
        kind="amount",
        grid=grid,
        start=52,
        held=4,
        change=grid[52].start,
        about="year on year the hires grow by 65 %, which no input of the model tells; temperature has its season",
        rule="the hires of the same hour a week before",
        delay=timedelta(days=1),
        weeks=True,
    )


def nannyml_california(raw: pd.DataFrame) -> Series:
    """Houses in the order of synthetic hours, a week a window; the data's own reference period comes first."""
    time = raw["timestamp"].dt.as_unit("us").dt.tz_localize("UTC")
    rows = raw.assign(time=time, label=raw["clf_target"].astype("float64"), unit=time.dt.floor("D").astype("int64"))
    rows["due"] = rows["time"] + timedelta(days=14)
    reference = int((raw["period"] == "reference").sum())
    grid = by_time(rows, WEEK, reference % 168)  # so that a window begins with the analysis period
    return Series(
        name="nannyml_california",
        title="California housing with natural covariate shift (NannyML), October 2020 to May 2022",
        rows=rows.assign(rule=latest_rate(rows, 1000)),
        watched=tuple(_number(name, low, high) for name, low, high in CALIFORNIA_NUMBERS),
        kind="probability",
        grid=grid,
        start=reference // 168,
        held=4,
        change=datetime(2021, 8, 1, tzinfo=rows["time"].dt.tz),
        about="the houses come from other places all the time; from August 2021 the given scores are much worse there",
        rule="the rate of the last 1,000 known labels",
        delay=timedelta(days=14),
        weeks=True,
        given="y_pred_proba",
    )


MAKERS: dict[str, Callable[[pd.DataFrame], Series]] = {
    "bank_marketing": bank_marketing,
    "bike_sharing": bike_sharing,
    "nannyml_california": nannyml_california,
}
BANK_NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("age", 16, 110),
    ("campaign", 1, 100),
    ("pdays", 0, 998),
    ("previous", 0, 100),
    ("emp_var_rate", -10, 10),
    ("cons_price_idx", 50, 200),
    ("cons_conf_idx", -100, 100),
    ("euribor3m", -5, 25),
    ("nr_employed", 3000, 8000),
)
BANK_NAMES = ("job", "marital", "education", "default", "housing", "loan", "contact", "day_of_week", "poutcome")
BIKE_NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("hr", 0, 23),
    ("weekday", 0, 6),
    ("weathersit", 1, 4),
    ("temp", 0, 1),
    ("atemp", 0, 1),
    ("hum", 0, 1),
    ("windspeed", 0, 1),
)
CALIFORNIA_NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("MedInc", 0, 16),
    ("HouseAge", 0, 60),
    ("AveRooms", 0, 200),
    ("AveBedrms", 0, 50),
    ("Population", 0, 50_000),
    ("AveOccup", 0, 2000),
    ("Latitude", 32, 43),
    ("Longitude", -125, -113),
)


def call_times(months: pd.Series) -> pd.Series:
    """A time for each call of a file that is in order and names the month only: evenly spread over the month.

    The year begins in 2008 and goes up where a month is earlier in the year than the one before it.
    """
    number = months.map({name: at for at, name in enumerate(MONTHS, start=1)})
    run = (number != number.shift()).cumsum()
    year = 2008 + (number < number.shift()).cumsum()
    first = pd.to_datetime(pd.DataFrame({"year": year, "month": number, "day": 1}), utc=True).dt.as_unit("us")
    share = months.groupby(run).cumcount() / months.groupby(run).transform("size")
    length = first.dt.days_in_month * 86_400.0
    return first + pd.to_timedelta((share * length).round(), unit="s").dt.as_unit("us")


def latest_rate(rows: pd.DataFrame, count: int) -> pd.Series:
    """For each row the mean of the `count` newest labels that were due before it; missing while there are none."""
    rate = rows["label"].rolling(count, min_periods=1).mean().to_numpy()
    known = np.asarray(rows["due"].searchsorted(rows["time"], side="left"))
    return pd.Series(np.where(known > 0, rate[np.maximum(known - 1, 0)], np.nan), index=rows.index)


def by_rows(rows: pd.DataFrame, count: int) -> tuple[Window, ...]:
    """Windows of so many rows; the last may have fewer."""
    cuts = [*range(0, len(rows), count), len(rows)]
    times = [*(rows["time"].iloc[at].to_pydatetime() for at in cuts[:-1]), _after(rows)]
    return tuple(Window(cuts[at], cuts[at + 1], times[at], times[at + 1]) for at in range(len(cuts) - 1))


def by_time(rows: pd.DataFrame, length: timedelta, skip: int) -> tuple[Window, ...]:
    """Whole windows of a length, the first beginning with row `skip`."""
    start = rows["time"].iloc[skip].to_pydatetime()
    count = (_after(rows) - start) // length
    starts = [start + length * at for at in range(count + 1)]
    cuts = np.asarray(rows["time"].searchsorted(pd.DatetimeIndex(starts)))
    return tuple(Window(int(cuts[at]), int(cuts[at + 1]), starts[at], starts[at + 1]) for at in range(count))


def _after(rows: pd.DataFrame) -> datetime:
    last: datetime = rows["time"].iloc[-1].to_pydatetime()
    return last + timedelta(hours=1)


def _number(name: str, low: float, high: float) -> Feature:
    return Feature(name=name, dtype="float64", low=low, high=high, meaning="as in the README of the data")


def _text(name: str) -> Feature:
    return Feature(name=name, dtype="string", meaning="as in the README of the data")
