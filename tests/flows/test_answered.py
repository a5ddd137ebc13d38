"""What was typed does not stay in Prefect when counting it fails."""

import pytest

from configs.schema import Settings
from errors import TamperError
from flows import release
from tasks import runs


def test_what_was_typed_is_deleted_also_when_counting_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []

    def broken(_ballot: str, _key: str) -> None:
        raise TamperError("release plan", expected="a signature", got="none")

    def forget(_settings: Settings, run: str) -> None:
        forgotten.append(run)

    monkeypatch.setattr(release, "count_vote", broken)
    monkeypatch.setattr(runs, "forget", forget)
    with pytest.raises(TamperError):
        release.answered("a ballot", "vote-1")
    assert len(forgotten) == 1
