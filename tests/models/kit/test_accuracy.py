"""Forecast metrics: the mean over rows is the textbook figure."""

from __future__ import annotations

import numpy as np
import pytest

from models.kit import accuracy

ACTUAL = np.array([[10.0, 100.0], [20.0, 300.0], [0.0, 200.0]])
FORECAST = np.array([[15.0, 90.0], [20.0, 330.0], [5.0, 180.0]])
ASKED = [1, 1, 2]


def test_means_are_the_textbook_figures() -> None:
    means = accuracy.table(FORECAST, ACTUAL, ASKED, ["a", "b"]).mean()
    errors = np.abs(FORECAST - ACTUAL)
    assert means["wape_accuracy"] == pytest.approx(1 - errors.sum() / ACTUAL.sum())
    assert means["wape_accuracy_h1"] == pytest.approx(1 - errors[:2].sum() / ACTUAL[:2].sum())
    assert means["wape_accuracy_h2"] == pytest.approx(1 - errors[2:].sum() / ACTUAL[2:].sum())
    assert means["accuracy"] == pytest.approx(np.mean([1 - 10 / 30, 1 - 60 / 600]))
    assert means["mae"] == pytest.approx(-errors.mean())
    assert means["rmse"] == pytest.approx(-np.sqrt((errors**2).mean(axis=0)).mean())
    assert means["mape"] == pytest.approx(-np.mean([(0.5 + 0) / 2, (0.1 + 0.1 + 0.1) / 3]))
    total = np.abs(FORECAST.sum(axis=1) - ACTUAL.sum(axis=1)).sum() / ACTUAL.sum()
    assert means["total_accuracy"] == pytest.approx(1 - total)


def test_errors_that_cancel_out_cancel_in_the_total() -> None:
    found = accuracy.table(np.array([[12.0, 8.0]]), np.array([[10.0, 10.0]]), [1], ["a", "b"]).mean()
    assert found["total_accuracy"] == 1.0
    assert found["wape_accuracy"] == pytest.approx(0.8)


def test_a_perfect_forecast_is_one_and_a_category_without_a_sale_is_missing() -> None:
    found = accuracy.table(np.array([[5.0, 0.0]]), np.array([[5.0, 0.0]]), [1], ["a", "b"])
    assert found.loc["a", "accuracy"] == 1.0
    assert np.isnan(found.loc["b", "accuracy"])
    assert np.isnan(found.loc["b", "mape"])


def test_nothing_asked_has_the_columns() -> None:
    assert list(accuracy.empty([1, 2]).columns) == accuracy.columns([1, 2])
