from __future__ import annotations

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tasks.threads import VARIABLES, limited


def test_pools_and_variables_are_bounded_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[0], "7")
    monkeypatch.delenv(VARIABLES[1], raising=False)
    assert np.eye(2) @ np.eye(2) is not None  # loads the BLAS
    before = [pool["num_threads"] for pool in threadpool_info()]
    assert before
    with limited(1):
        assert {os.environ[name] for name in VARIABLES} == {"1"}
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
    assert os.environ[VARIABLES[0]] == "7"
    assert VARIABLES[1] not in os.environ
