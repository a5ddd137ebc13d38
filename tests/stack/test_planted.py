"""The planted drift: real rows stay, the second autumn follows with other numbers."""

import numpy as np
import pandas as pd

from stack.planted import AGAIN, reissued, second_autumn
from stack.replay import SEASON_START


def rows() -> pd.DataFrame:
    times = ["2011-05-01 10:00", "2011-06-01 10:00", "2011-07-01 10:00", "2011-09-01 10:00", "2011-10-05 12:30"]
    return pd.DataFrame(
        {
            "invoice_no": ["500001", "500002", "500003", "C555555", "555556"],
            "invoice_date": pd.to_datetime(times).astype("datetime64[ms]"),
            "customer_id": pd.array([1, 2, 3, 1, None], dtype="Int32"),
            "quantity": np.array([1, 1, 1, -1, 5], dtype=np.int32),
        }
    )


def test_only_the_autumn_comes_again_on_the_same_weekdays_with_invoices_of_its_own() -> None:
    frame = rows()
    again = second_autumn(frame)
    assert again["invoice_no"].tolist() == ["C755555", "755556"]
    assert again["invoice_date"].dt.day_name().tolist() == frame["invoice_date"].dt.day_name().tolist()[3:]
    assert (again["invoice_date"] - frame["invoice_date"].iloc[3:]).unique().tolist() == [AGAIN - SEASON_START]
    assert again.dtypes.equals(frame.dtypes)
    assert again["customer_id"].isna().tolist() == [False, True]


def test_each_known_customer_gets_the_number_of_a_known_one() -> None:
    numbers = reissued(rows().iloc[:3])
    assert sorted(numbers) == sorted(numbers.values()) == [1, 2, 3]
    assert numbers == reissued(rows().iloc[:3])
    assert int(second_autumn(rows())["customer_id"].iloc[0]) == numbers[1]
