"""`grownet serve --check`: a process without a port that says whether production would load a candidate."""

import json
import os
import subprocess
import sys
from typing import Any

from stores.ledger import evidence
from tests.serving.town import NAME, ROOT, Town


def check(town: Town, candidate: str, *command: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", *(command or ("serving.check",)), candidate],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **town.environment}, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_good_candidate(empty: Town) -> None:
    arm = empty.candidate(1, passed=False)  # nobody asks for evidence yet
    evidence.save_candidate(empty.ledgers["flow"], empty.record(arm))
    code, facts = check(empty, "candidate-1")
    assert arm.artifact is not None
    assert (code, facts["ok"], facts["size_bytes"]) == (0, True, arm.artifact.size_bytes)
    assert 0 < facts["latency_p50_ms"] <= facts["latency_p99_ms"]
    assert set(facts) == {"ok", "reason", "latency_p50_ms", "latency_p99_ms", "size_bytes"}
    assert check(empty, "candidate-1", "grownet", "serve", "--check")[0] == 0
    assert not (empty.folder / "journal").exists()
    assert not (empty.folder / "serving").exists()


def test_a_candidate_that_production_would_refuse(empty: Town) -> None:
    arm = empty.candidate(1, expected=b"[]")
    evidence.save_candidate(empty.ledgers["flow"], empty.record(arm))
    code, facts = check(empty, "candidate-1")
    assert (code, facts["ok"]) == (5, False)
    assert f"{NAME}-v1: example" in facts["reason"]


def test_an_unknown_candidate(empty: Town) -> None:
    code, facts = check(empty, "nobody")
    assert (code, facts["ok"]) == (2, False)
    assert "nobody" in facts["reason"]
