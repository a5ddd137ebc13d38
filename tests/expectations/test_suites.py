import re

import msgspec
import pytest

from checks.redact import redact
from configs.load import load
from errors import NotFound
from expectations import suites
from expectations.declare import Expectation, Suite

DATASETS = load().datasets
SUITES = {name: suites.find(name) for name in suites.names()}


def test_there_are_suites_and_datasets() -> None:
    assert SUITES
    assert DATASETS


def test_an_unknown_suite_is_named() -> None:
    with pytest.raises(NotFound, match=r"expectations/nothing\.py"):
        suites.find("nothing")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_each_expectation_has_a_name_of_its_own_and_a_reason(suite: Suite) -> None:
    names = [expectation.name for expectation in suite.expectations]
    assert len(set(names)) == len(names)
    assert all(len(expectation.reason) > 30 for expectation in suite.expectations)
    assert all(expectation.type.startswith("expect_") for expectation in suite.expectations)
    assert 0 <= suite.max_quarantined_share < 1


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_every_column_of_a_dataset_is_judged(dataset: object) -> None:
    chosen = DATASETS[dataset.name]  # type: ignore[attr-defined]  # a Dataset
    found = suites.find(chosen.suite)
    by_rows = [expectation for expectation in found.expectations if expectation.quarantines]
    assert any(expectation.refuses for expectation in found.expectations)
    for name, column in chosen.columns.items():
        looking = [expectation for expectation in found.expectations if name in expectation.columns]
        assert looking, f"nothing is expected of {name}"
        given = [e for e in by_rows if e.type == "expect_column_values_to_not_be_null" and e.columns == (name,)]
        assert bool(given) != column.nullable, f"{name}: nullable in the dataset, and the suite says otherwise"


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_a_subject_that_is_no_pseudonym_refuses_the_batch(dataset: object) -> None:
    chosen = DATASETS[dataset.name]  # type: ignore[attr-defined]  # a Dataset
    subjects = [name for name, column in chosen.columns.items() if column.subject]
    found = suites.find(chosen.suite)
    for name in subjects:
        regexes = [e for e in found.expectations if e.refuses and e.columns == (name,) and "regex" in e.kwargs]
        assert regexes, f"nothing checks that {name} was masked"


def test_the_configuration_is_what_great_expectations_reads() -> None:
    one = Expectation(
        name="returns_marked",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "invoice_no", "regex": "^C"},
        reason="a return is a cancellation",
        where=(("quantity", "<", 0),),
    )
    suite = Suite(name="one", expectations=(one,), max_quarantined_share=0.5, max_quarantined_reason="half is too much")
    (made,) = suites.configurations(suite)
    assert made["type"] == one.type
    assert made["severity"] == "critical"
    assert made["meta"] == {"name": "returns_marked"}
    assert made["kwargs"]["row_condition"]["conditions"][0]["operator"] == "<"


def test_another_limit_is_another_digest() -> None:
    suite = SUITES["orders"]
    assert msgspec.structs.replace(suite, max_quarantined_share=0.5).digest != suite.digest


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_a_text_that_was_not_redacted_refuses_the_batch(dataset: object) -> None:
    chosen = DATASETS[dataset.name]  # type: ignore[attr-defined]  # a Dataset
    found = suites.find(chosen.suite)
    for name in [name for name, column in chosen.columns.items() if column.redact]:
        regexes = [
            re.compile(e.kwargs["regex"])
            for e in found.expectations
            if e.refuses and e.columns == (name,) and "regex" in e.kwargs
        ]
        for text in (
            "call 09061701461",
            "0770 - 090 - 012",
            "write to ada&bob@example.co.uk",
            "ftp://ada:me@host/x",
            "①②③",
        ):
            assert any(regex.search(text) for regex in regexes), f"nothing checks that {name} was redacted"
            assert not any(regex.search(redact(text)) for regex in regexes)
