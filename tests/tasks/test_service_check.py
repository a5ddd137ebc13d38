from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tasks.service_check import check_service, environment, quietest
from tests.tasks.school import School


def test_a_good_candidate_is_loaded_and_measured(taught: School) -> None:
    report = check_service(taught.settings, taught.train().id)
    assert report.ok, report.reason
    assert report.latency_p99_ms is not None
    assert report.latency_p99_ms > 0


def test_an_unknown_candidate_is_refused_with_the_reason(taught: School) -> None:
    report = check_service(taught.settings, "nobody")
    assert (report.ok, "nobody" in report.reason) == (False, True)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo not json", "no report: not json"),
        ("echo 'on fire' >&2; exit 7", "ended with 7 and no report: on fire"),
        ("""echo '{"ok": true, "reason": ""}'; exit 3""", "ended with 3"),
    ],
)
def test_a_process_that_ends_strangely_refuses(
    taught: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """Another interpreter stands in for a broken installation."""
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    report = check_service(taught.settings, "x")
    assert (report.ok, said in report.reason) == (False, True), report.reason


def test_too_slow_an_answer_is_measured_again_and_the_best_counts(
    taught: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another interpreter stands in for a busy machine: 90 ms, then 20, then 5."""
    busy = tmp_path / "python"
    busy.write_text(
        f"#!/bin/sh\ncd {tmp_path}; echo x >> runs; case $(wc -l < runs) in 1) p=90;; 2) p=20;; *) p=5;; esac\n"
        """echo "{\\"ok\\": true, \\"reason\\": \\"\\", \\"latency_p99_ms\\": $p}"\n"""
    )
    busy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(busy))
    assert quietest(taught.settings, "x", 0.05).latency_p99_ms == 20
    assert (tmp_path / "runs").read_text().count("x") == 2
    (tmp_path / "runs").unlink()
    assert quietest(taught.settings, "x", 0.001).latency_p99_ms == 5
    assert (tmp_path / "runs").read_text().count("x") == 3


def test_the_child_gets_these_settings_and_no_secret(taught: School, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWNET_HOME", "/somewhere/else")
    secret = taught.settings.model_copy(update={"slack_url": "https://hooks.example.org/secret"})
    given = environment(secret)
    assert given["GROWNET_HOME"] == str(taught.settings.home)
    assert not [value for value in given.values() if "hooks.example.org" in value]
