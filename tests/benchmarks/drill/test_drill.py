"""The short form: three faults on a real service with two workers and two guards, without Prefect and MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import drill
from benchmarks.drill import sittings
from errors import UsageError

SHORT = ("errors", "corrupt_artifact", "killed_leader")


@pytest.mark.slow
@pytest.mark.stack
def test_releases_take_themselves_back(tmp_path: Path) -> None:
    found = sittings.new(tmp_path, drill.asked(SHORT, 1, 40.0, flows=False))
    drill.drill(found)
    facts = found.facts()
    assert [said for one in facts["faults"].values() for said in one["exceeded"]] == []
    for name in SHORT:
        one = facts["faults"][name]
        assert one["requests"] > 50, name
        assert one["moments"]["switched"] is not None, name
    drill.report(facts, tmp_path, as_json=True)


def test_faults_of_prefect_need_it() -> None:
    with pytest.raises(UsageError, match="null_surge"):
        drill.asked(["errors", "null_surge"], flows=False)


def test_a_fault_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        drill.main(["earthquake"])
    assert left.value.code == 2
    assert "expected one of lower_ctr, errors" in capsys.readouterr().err
