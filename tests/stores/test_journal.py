"""The journal: written before anything else, readable after kill -9, torn ends tolerated, changed lines not."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checks.prediction_ids import mint
from errors import NotFound, StackError, TamperError
from records import Answer, Counter, Feedback
from stores.journal import Journal
from stores.lookup import answers, gone, locate, read
from stores.segments import closed, content, entries, minute_of, segments

NOW = datetime.now(UTC)
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def at_the_first_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are begun when their answers were received, however long the tests before took."""
    monkeypatch.setattr("stores.journal.now_minute", lambda: minute_of(NOW))


def identity(serial: int, minute: int | None = None) -> str:
    when = minute_of(NOW) if minute is None else minute
    return mint("recommendation.champion.v1.r3", when, f"one.9f3a01c2-{serial:x}", lambda _: b"m" * 16)


def answer(serial: int, **changes: object) -> Answer:
    fields: dict[str, object] = {
        "prediction_id": identity(serial), "model": "recommendation", "arm": "champion", "version": 1,
        "artifact": "a" * 64, "revision": 3, "event_time": NOW, "received_at": NOW, "subject": "p1_ü\n",
        "bucket": 7, "decision": {"items": ["85123A"]},
    }  # fmt: skip
    return Answer(**{**fields, **changes})  # type: ignore[arg-type]  # a test's shorthand


def feedback(serial: int) -> Feedback:
    return Feedback(
        prediction_id=identity(serial), model="recommendation", outcome={"purchased": []}, event_time=NOW,
        received_at=NOW, key="k1",
    )  # fmt: skip


def opened(folder: Path, segment_bytes: int = 1 << 20, fsync_seconds: float = 0.01) -> Journal:
    return Journal(folder, segment_bytes=segment_bytes, fsync_seconds=fsync_seconds)


def wait_until(true: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one")
    paired = answer(2, arm="canary", paired_with=identity(1))
    first = journal.append(answer(1))[0]
    places = journal.append(paired, feedback(1))
    assert [journal.entry(place) for place in (first, *places)] == [answer(1), paired, feedback(1)]
    found = read(tmp_path, identity(1))
    assert (found.answer, found.paired, found.feedback) == (answer(1), paired, feedback(1))
    located = locate(tmp_path / "one", identity(1))
    assert located is not None
    assert (located.answer, located.paired, located.fed) == (first, places[0], True)
    journal.close()
    assert journal.entry(first) == answer(1)  # sealed, and still there


def test_an_answer_that_is_not_here_is_not_found(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one")
    assert locate(tmp_path / "one", identity(1)) is None
    with pytest.raises(NotFound, match="prediction id"):
        read(tmp_path, "nonsense")
    with pytest.raises(NotFound, match="look on the machine of that replica"):
        read(tmp_path, identity(1))
    journal.close()


def test_full_segments_are_sealed_and_searched_by_minute(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one", segment_bytes=4096)
    for serial in range(100):
        journal.append(answer(serial))
    wait_until(lambda: len(closed(tmp_path / "one")) > 5)
    journal.close()
    assert [one.path.suffix for one in closed(tmp_path / "one")] == [".log"] * len(segments(tmp_path / "one"))
    assert all(one.path.stat().st_size < 4096 + 1024 for one in closed(tmp_path / "one"))
    assert [read(tmp_path, identity(serial)).answer.bucket for serial in range(100)] == [7] * 100
    later = minute_of(NOW + timedelta(minutes=5))
    assert locate(tmp_path / "one", identity(3, later)) is None
    everything = list(answers(tmp_path, "recommendation", NOW, NOW + timedelta(seconds=1)))
    assert [one.prediction_id for one in everything] == [identity(serial) for serial in range(100)]
    assert list(answers(tmp_path, "recommendation", NOW + timedelta(seconds=1), NOW + timedelta(days=1))) == []
    assert list(answers(tmp_path, "demand", NOW, NOW + timedelta(seconds=1))) == []


def test_an_answer_may_be_in_the_lake_wherever_segments_are_missing(tmp_path: Path) -> None:
    """One that is not what was shipped stays, and those behind it leave."""
    for number, minute in ((3, 100), (4, 200), (7, 400), (8, 500)):
        (tmp_path / f"{number:08d}-{minute}.log").touch()
    assert [gone(tmp_path, minute) for minute in (50, 101, 150, 200, 300, 400, 450, 600)] == [
        True, True, False, True, True, True, False, False,
    ]  # fmt: skip
    anew = tmp_path / "anew"
    anew.mkdir()
    assert not gone(anew, 50)
    (anew / "00000001-100.open").touch()  # a disk made anew: what stood on the one before was shipped
    assert [gone(anew, minute) for minute in (50, 150)] == [True, False]


def test_answers_of_a_clock_that_was_ahead_for_a_while_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, now = [minute_of(NOW)], minute_of(NOW)
    monkeypatch.setattr("stores.journal.now_minute", lambda: clock[0])
    ahead = NOW + timedelta(hours=1)
    journal = opened(tmp_path / "one")
    journal.append(answer(1))
    clock[0] += 60
    journal.append(answer(2, prediction_id=identity(2, now + 60), received_at=ahead, event_time=ahead))
    wait_until(lambda: journal._minute == now + 60)
    clock[0] = now
    for serial in (3, 4):
        with journal._lock:
            journal._rotate()
        journal.append(answer(serial))
    journal.close()
    for serial, minute in ((1, now), (2, now + 60), (3, now), (4, now)):
        assert locate(tmp_path / "one", identity(serial, minute)), serial
    found = answers(tmp_path, "recommendation", NOW, NOW + timedelta(minutes=1))
    assert [one.prediction_id for one in found] == [identity(serial) for serial in (1, 3, 4)]


def test_a_search_goes_over_the_edges_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.append(*map(answer, range(9)))
    journal.append(feedback(4))
    whole = [locate(tmp_path, identity(serial)) for serial in range(10)]
    assert whole[4] is not None
    assert whole[4].fed
    for size in (1, 7, 400, 1000):
        monkeypatch.setattr("stores.segments.BLOCK", size)
        assert [locate(tmp_path, identity(serial)) for serial in range(10)] == whole
    journal.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one")
    with pytest.raises(StackError, match="GROWNET_REPLICA"):
        opened(tmp_path / "one")
    journal.close()
    opened(tmp_path / "one").close()


def test_a_torn_end_is_left_out_and_the_next_process_goes_on(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one")
    journal.append(answer(1), answer(2))
    path = segments(tmp_path / "one")[0].path
    journal.close()
    whole = content(path)
    path.with_suffix(".log").write_bytes(whole[:-30])
    assert [entry for _, entry in entries(path)] == [answer(1)]
    again = opened(tmp_path / "one")
    again.append(answer(3))
    again.close()
    assert read(tmp_path, identity(3)).answer == answer(3)
    assert [one.prediction_id for one in answers(tmp_path, "recommendation", NOW, NOW + timedelta(seconds=1))] == [
        identity(1),
        identity(3),
    ]


def test_a_changed_line_is_seen(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one")
    place = journal.append(answer(1))[0]
    journal.append(answer(2))
    path = segments(tmp_path / "one")[0].path
    data = bytearray(path.read_bytes())
    data[data.index(b"85123A")] = ord("9")
    path.write_bytes(data)
    for look in (
        lambda: journal.entry(place),
        lambda: read(tmp_path, identity(1)),
        lambda: list(entries(path)),
    ):
        with pytest.raises(TamperError, match="fits its checksum"):
            look()
    journal.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path / "one", fsync_seconds=10)
    journal.append(answer(1))
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:20]))
    with pytest.raises(OSError, match="wrote 20 of"):
        journal.append(answer(2))
    monkeypatch.undo()
    journal.append(answer(3))
    journal.close()
    assert [entry for _, entry in entries(segments(tmp_path / "one")[0].path)] == [answer(1), answer(3)]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = opened(tmp_path / "one", segment_bytes=20_000)

    def work(first: int) -> None:
        for serial in range(first, first + 50):
            journal.append(answer(serial), Counter(
                model="recommendation", salt="s", arm="canary", version=2, bucket=1, hour=NOW, matured=1,
            ))  # fmt: skip

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found = [entry for segment in segments(tmp_path / "one") for _, entry in entries(segment.path)]
    assert sorted(e.prediction_id for e in found if isinstance(e, Answer)) == sorted(map(identity, range(200)))
    assert sum(e.matured for e in found if isinstance(e, Counter)) == 200


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests_journal import answer, opened
journal = opened(Path({folder!r}), 1 << 14)
serial = 0
while True:
    journal.append(answer(serial))
    print(serial, flush=True)
    serial += 1
"""


def test_every_acknowledged_answer_survives_kill_9(tmp_path: Path) -> None:
    code = WRITER.format(root=str(tmp_path), folder=str(tmp_path / "one"))
    (tmp_path / "tests_journal.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 200:
            writer.send_signal(signal.SIGKILL)
            break
    told = [int(line) for line in writer.stdout] or [200]
    writer.wait(timeout=60)
    writer.stdout.close()
    found = [e for segment in segments(tmp_path / "one") for _, e in entries(segment.path) if isinstance(e, Answer)]
    serials = [int(one.prediction_id.split("-")[1].split(".")[0], 16) for one in found]
    assert serials[: max(told) + 1] == list(range(max(told) + 1))
    opened(tmp_path / "one").close()  # the lock went with the process


def test_a_failed_fsync_is_tried_again_and_holds_up_no_other_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path / "one", segment_bytes=1, fsync_seconds=60)
    for serial in range(3):
        journal.append(answer(serial))  # each in a segment of its own; the last one is open
    real, refused = os.fsync, [segment.path.stat().st_ino for segment in segments(tmp_path / "one")][0::2]

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino in refused:
            raise OSError("the disk is gone")
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            journal.flush()
    assert [one.path.stat().st_ino in refused for one in closed(tmp_path / "one")] == [False]
    again, refused[:] = list(refused), []
    journal.flush()
    assert len(closed(tmp_path / "one")) == 2
    assert set(again) <= set(synced)  # the open one too
    monkeypatch.undo()
    journal.close()
    assert len(closed(tmp_path / "one")) == 3
    assert [read(tmp_path, identity(serial)).answer.bucket for serial in range(3)] == [7] * 3


def test_old_segments_are_sealed_though_they_are_small_and_empty_ones_are_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "one", segment_bytes=1 << 20, fsync_seconds=0.01, segment_seconds=0.05)
    journal.append(answer(1))
    wait_until(lambda: len(closed(tmp_path / "one")) == 1)
    open_one = segments(tmp_path / "one")[-1]
    time.sleep(0.2)  # several ages of the open one, in which nothing is written
    assert segments(tmp_path / "one")[-1] == open_one
    journal.append(answer(2))
    wait_until(lambda: len(closed(tmp_path / "one")) == 2)
    journal.close()
    assert [read(tmp_path, identity(serial)).answer.bucket for serial in (1, 2)] == [7, 7]


def test_where_no_new_segment_can_be_opened_the_old_one_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path / "one", segment_bytes=1, fsync_seconds=0.01)
    real = os.open

    def refused(path: object, flags: int, *more: int) -> int:
        if str(path).endswith(".open"):
            raise OSError(24, "Too many open files")
        return real(path, flags, *more)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(os, "open", refused)
    for serial in range(3):
        journal.append(answer(serial))
    assert len(segments(tmp_path / "one")) == 1
    monkeypatch.undo()
    wait_until(lambda: not journal._stuck)
    journal.append(answer(3))
    journal.close()
    assert len(segments(tmp_path / "one")) == 2
    assert [read(tmp_path, identity(serial)).answer.bucket for serial in range(4)] == [7] * 4
