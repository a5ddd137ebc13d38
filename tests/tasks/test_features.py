from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.load import recipe_of
from errors import DataError, NotFound, SchemaError, UsageError
from models.contract import Feature, find
from tasks.features import artifacts_of, build_features, check_features, history, newest
from tests.tasks.school import NAME, School, orders

PROMISED = (
    Feature(name="subject", dtype="string", meaning="who"),
    Feature(name="visits", dtype="int64", low=1, high=10, unit="visits", meaning="how often"),
    Feature(name="days", dtype="float64", low=0, meaning="since the last"),
)
FRAME = pd.DataFrame({"subject": ["ann", "bob"], "visits": [1, 2], "days": [0.5, float("nan")]})


def test_features_are_those_of_the_newest_row_and_stored_encrypted(taught: School) -> None:
    built = taught.features()
    last = orders()["invoice_date"].max()
    assert 0 < (built.as_of - last).total_seconds() < 1e-5
    assert (built.version.name, built.snapshots[0].version.name) == ("feature_v1", "data_v1")
    frame = artifacts_of(taught.settings).frame(built)
    assert len(frame) == built.rows
    assert list(frame.columns) == [feature.name for feature in find(NAME).FEATURES]
    assert frame["days"].min() >= 0
    stored = next(Path(taught.settings.artifacts_uri).rglob(f"{built.content}.sealed")).read_bytes()
    assert b"PAR1" not in stored


def test_building_again_gives_the_same_set(taught: School) -> None:
    assert taught.features() == taught.features()


def test_a_later_batch_does_not_change_what_was_built_before(school: School) -> None:
    before = school.features()
    later = orders().assign(invoice_date=orders()["invoice_date"] + pd.Timedelta(days=400))
    school.take_in(later, "later")
    assert school.features().content != before.content
    assert len(history(school.settings, school.config, NAME, before.snapshots).tables["orders"]) == len(orders())


def test_without_a_batch_there_is_nothing_to_build(tmp_path: Path) -> None:
    empty = School(tmp_path, "")
    with pytest.raises(NotFound, match="run ingest first"):
        empty.features()
    empty.close()


def test_an_unknown_model_and_one_that_is_switched_off_are_refused(taught: School) -> None:
    with pytest.raises(NotFound, match=r"add configs/nothing\.yaml"):
        build_features(taught.settings, taught.config, "nothing")
    off = taught.config.models[NAME].model_copy(update={"enabled": False})
    with pytest.raises(UsageError, match="switched off"):
        recipe_of(taught.config.model_copy(update={"models": {NAME: off}}), NAME)


def test_snapshots_without_an_event_time_have_no_newest_row() -> None:
    with pytest.raises(DataError, match="event time"):
        newest([])


def test_features_that_keep_their_promise_pass() -> None:
    check_features("toy", FRAME, PROMISED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visits": [1, 11]}, r"visits of toy: expected values from 1.* to 10.* visits, got 1 of 2 rows outside"),
        ({"visits": [0, 2]}, "1 of 2 rows outside"),
        ({"visits": [1.0, 2.0]}, "expected int64, got float64"),
        ({"days": ["a", "b"]}, "expected float64"),
        ({"days": [-1.0, 2.0]}, "such as -1.0"),
        ({"more": [1, 2]}, "expected columns"),
    ],
)
def test_features_that_break_their_promise_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        check_features("toy", FRAME.assign(**change), PROMISED)


def test_a_missing_column_and_no_row_at_all_are_refused() -> None:
    with pytest.raises(SchemaError, match="expected columns"):
        check_features("toy", FRAME.drop(columns="days"), PROMISED)
    with pytest.raises(SchemaError, match="at least one row"):
        check_features("toy", FRAME.head(0), PROMISED)


def test_a_vote_waits_for_no_frames() -> None:
    """Each submission of the form starts a process that imports the release flow."""
    code = "import sys, flows.release; print({'numpy', 'pandas', 'pyarrow', 'deltalake', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_stages_import_without_the_heavy_packages() -> None:
    heavy = "{'mlflow', 'great_expectations', 'evidently', 'lightgbm'}"
    code = f"import sys, tasks.features, tasks.train, tasks.validate, tasks.stages; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
