"""Refreshed features are like those of training in form, tell the same rows apart, and are not much fewer."""

import pandas as pd
import pytest

from checks.freshness import key, refuse_collapsed, refuse_unlike
from errors import SchemaError

TRAINING = pd.DataFrame({"subject": ["", "", "ann", "ann"], "item": ["a", "b", "a", "b"], "orders": [4, 3, 1, 1]})


def test_what_tells_rows_apart_is_read_off_the_frame() -> None:
    assert key(TRAINING) == ["subject", "item"]
    assert key(TRAINING.drop_duplicates("subject")) == ["subject"]
    assert key(pd.DataFrame({"a": [1, 1], "b": [2, 2]})) == ["a", "b"]


def test_more_rows_of_the_same_form_pass() -> None:
    more = pd.concat([TRAINING, pd.DataFrame({"subject": ["bob"], "item": ["a"], "orders": [9]})], ignore_index=True)
    refuse_unlike("toy", more, TRAINING)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (TRAINING.astype({"orders": "float64"}), "orders int64, got orders float64"),
        (TRAINING.drop(columns="item"), "item str"),
        (TRAINING.assign(more=1), "got more int64"),
        (TRAINING[["item", "subject", "orders"]], "another order"),
        (pd.concat([TRAINING, TRAINING.tail(1).assign(orders=2)]), "each subject, item once, got 1 rows"),
    ],
)
def test_another_form_and_a_subject_twice_are_refused(new: pd.DataFrame, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        refuse_unlike("toy", new, TRAINING)


def test_a_collapse_is_measured_on_all_that_was_before() -> None:
    refuse_collapsed("toy", 50, (100, 60), 0.5)
    with pytest.raises(SchemaError, match="at least 50% of 100 rows, got 49"):
        refuse_collapsed("toy", 49, (100, 60), 0.5)
    with pytest.raises(SchemaError, match="of 200 rows"):  # small steps down are no way around it
        refuse_collapsed("toy", 90, (100, 200), 0.5)
