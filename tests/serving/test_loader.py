"""Loads beside the followers: in turn, and not for ever behind one that hangs."""

import threading
import time

import pytest

from serving.loader import Loader
from tests.serving.town import wait_for


def test_loads_come_one_after_another_and_what_they_raise_is_kept() -> None:
    loader, at_once, most = Loader(), [0], [0]

    def load(number: int) -> int:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.002)
        at_once[0] -= 1
        return number

    found = [loader.submit(load, number) for number in range(5)]
    assert [one.result(10) for one in found] == [0, 1, 2, 3, 4]
    assert most == [1]
    assert isinstance(loader.submit(lambda: 1 / 0).exception(10), ZeroDivisionError)


def test_one_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.loader.PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr("serving.loader.LEAVE_SECONDS", 0.02)
    loader, free, begun = Loader(), threading.Event(), threading.Event()

    def load() -> bool:
        begun.set()
        return free.wait()

    hangs = loader.submit(load)
    assert begun.wait(10)
    assert [loader.submit(int, n).result(10) for n in range(3)] == [0, 1, 2]
    loader.close()
    assert not hangs.done()
    free.set()
    assert hangs.result(10) is True
    left = loader.submit(lambda: 1)
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "loader"])
    assert not left.done()  # nothing begins after the end
