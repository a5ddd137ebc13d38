"""What holds for every test: no telemetry, no settings from outside, the examples of CI, and there a skipped test is a failure."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.load_profile("ci")  # everywhere: the same examples, and none is timed, since a machine may be busy
for name in [key for key in os.environ if key.startswith("GROWNET_")]:
    del os.environ[name]
os.environ.setdefault("DO_NOT_TRACK", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI a skip is a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped as a whole, and in CI a skip is a failure"
    return report
