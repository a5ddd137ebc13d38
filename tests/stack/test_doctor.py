"""Doctor: says what is set and what is reachable, and never a secret."""

from pathlib import Path

from configs.load import settings
from stack.doctor import check_up


def test_secrets_and_passwords_are_hidden_and_an_absent_stack_is_no_fault(tmp_path: Path) -> None:
    chosen = settings(
        {
            "GROWNET_HOME": str(tmp_path),
            "GROWNET_SLACK_URL": "https://hooks.example.org/T0/hush-hush",
            "GROWNET_MLFLOW_URL": "http://user:hidden@127.0.0.1:9",
            "GROWNET_PREFECT_URL": "http://127.0.0.1:9/api",
        }
    )
    facts = check_up(chosen)
    assert facts["ok"]
    assert "away" in facts["checks"]["prefect"]
    assert "hush-hush" not in str(facts["settings"])
    assert "hidden" not in str(facts["settings"])


def test_a_wrong_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    facts = check_up(settings({"GROWNET_HOME": str(tmp_path), "GROWNET_CONFIGS": str(tmp_path / "configs")}))
    assert not facts["ok"]
    assert "defaults.yaml" in facts["checks"]["configuration"]
