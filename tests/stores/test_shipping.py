"""Shipping to the lake: each line exactly once, wherever the shipper is killed; nothing is dropped without a word."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from deltalake import DeltaTable

from errors import StackError
from records import Answer, Counter, Feedback
from stores.journal import Journal
from stores.lake import Lake
from stores.segments import Entry, closed, content, line_of, segments
from stores.shipped import ANSWERS, ASIDE, FEEDBACK, SCHEMAS, SEGMENTS, Shipped
from stores.shipping import Damage, clear, compact, origin_of, ship
from tests.stores.test_journal import NOW, answer, feedback, identity

ROOT = Path(__file__).resolve().parent.parent.parent
LATER = NOW + timedelta(days=30)


def write(folder: Path, first: int, count: int) -> list[Entry]:
    """Answers, some with feedback and a counter, in small segments that are sealed at the end."""
    journal = Journal(folder, segment_bytes=1500, fsync_seconds=60)
    said: list[Entry] = []
    for serial in range(first, first + count):
        group: list[Entry] = [answer(serial)]
        if serial % 3 == 0:
            hour = NOW.replace(minute=0, second=0, microsecond=0)
            group += [feedback(serial), Counter(model="m", salt="s", arm="a", version=1, bucket=1, hour=hour)]
        journal.append(*group)
        said += group
    journal.close()
    return said


def shipped(lake: Lake, table: str) -> list[str]:
    """The lines of a table, in order of their places."""
    if not lake.exists(table):
        return []
    rows = lake.read(table).sort_values(["replica", "segment", "offset"])
    return [str(line) for line in rows["line"]]


def expected(said: list[Entry], kind: type[Entry]) -> list[str]:
    return [line_of(one).decode().rstrip("\n") for one in said if isinstance(one, kind)]


def told_nothing(damage: Damage) -> None:
    raise AssertionError(damage)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_every_line_is_shipped_once_and_read_back(tmp_path: Path, lake: Lake) -> None:
    said = write(tmp_path / "one", 0, 20)
    beside = answer(99, paired_with=identity(3), arm="control")
    said += [beside]
    journal = Journal(tmp_path / "one", segment_bytes=1500, fsync_seconds=60)
    journal.append(beside)
    assert ship(lake, tmp_path / "one", NOW, told_nothing) == len(closed(tmp_path / "one"))
    journal.close()  # now the open one is sealed, too
    assert ship(lake, tmp_path / "one", NOW, told_nothing) == 1
    assert ship(lake, tmp_path / "one", NOW, told_nothing) == 0
    assert shipped(lake, ANSWERS) == expected(said, Answer)
    assert shipped(lake, FEEDBACK) == expected(said, Feedback)
    assert int(lake.read(SEGMENTS)["counters"].sum()) == len(expected(said, Counter))
    assert not lake.exists(ASIDE)
    reader = Shipped(lake)
    assert reader.about(identity(3)) == [answer(3), beside, feedback(3)]
    assert reader.about(identity(500)) == []
    found = reader.found([identity(2), identity(3), identity(500), "nonsense"])
    assert {name: (one.paired, one.feedback) for name, one in found.items()} == {
        identity(2): (None, None),
        identity(3): (beside, feedback(3)),
    }
    assert len(list(reader.replied("recommendation", NOW, NOW + timedelta(seconds=1)))) == 20
    assert list(reader.replied("recommendation", NOW - timedelta(days=2), NOW)) == []
    assert Shipped(Lake(str(tmp_path / "nowhere"))).about(identity(3)) == []


# ---- killed anywhere -----------------------------------------------------------------------------

SHIPPER = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from stores.lake import Lake
from stores.shipping import clear, ship

CHANGING = {"create_deltalake", "write_to_deltalake", "write", "link", "unlink"}

def work(home):
    lake, folder = Lake(str(home / "lake")), home / "one"
    ship(lake, folder, datetime.now(UTC), lambda damage: None)
    clear(lake, folder, datetime(2100, 1, 1, tzinfo=UTC), lambda segment, size: True)

def counts(event, what, every):
    if event not in {"c_call", "c_return"}:
        return False
    if not every:
        return what.__name__ in CHANGING
    owner = getattr(what, "__module__", None) or type(getattr(what, "__self__", None)).__module__
    return event == "c_call" and owner.startswith(("deltalake", "posix", "_io", "pyarrow"))

def killed_at(home, boundary, every):
    seen = 0
    def look(frame, event, what):
        nonlocal seen
        if counts(event, what, every):
            seen += 1
            if seen == boundary:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(look)
    work(home)
    sys.setprofile(None)

def child(home, boundary, every):
    pid = os.fork()  # nothing of Delta Lake's runtime has run in the parent
    if pid == 0:
        try:
            killed_at(home, boundary, every)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for line in sys.stdin:
    home, boundary, every = line.split()
    print(child(Path(home), int(boundary), every == "every"), flush=True)
"""
NEVER = 10**9


@pytest.fixture
def shipper() -> Iterator[subprocess.Popen[str]]:
    """Ships the home it is told, and is killed there before the call it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", SHIPPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    yield process
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


def told(process: subprocess.Popen[str], home: Path, boundary: int, which: str = "changing") -> int:
    """The exit code of a shipper that is killed at its n-th boundary; 0 when it has fewer."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{home} {boundary} {which}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def killed_everywhere(tmp_path: Path, shipper: subprocess.Popen[str], which: str) -> int:
    """Kills a shipper at each boundary of a pass that goes on from another one, lets the next one finish, and compares;
    how many were killed."""
    start = tmp_path / "start"
    said = write(start / "one", 0, 2)
    ship(Lake(str(start / "lake")), start / "one", NOW, told_nothing)
    (start / "lake" / FEEDBACK).rename(start / "gone")  # so that it makes a table, too
    shutil.rmtree(start / "gone")
    said = [*said, *write(start / "one", 10, 4)]
    code, boundary = -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        boundary += 1
        home = tmp_path / str(boundary)
        shutil.copytree(start, home)
        code = told(shipper, home, boundary, which)
        lake = Lake(str(home / "lake"))
        ship(lake, home / "one", NOW, told_nothing)
        clear(lake, home / "one", LATER, lambda *_: True)
        assert shipped(lake, ANSWERS) == expected(said, Answer), boundary
        assert shipped(lake, FEEDBACK) == expected(said[2:], Feedback), boundary
        numbers = list(lake.read(SEGMENTS)["segment"])
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), boundary
        assert len(closed(home / "one")) == 1  # the newest stays
    assert code == 0
    return boundary - 1


def test_killed_around_every_change_each_line_is_there_once(tmp_path: Path, shipper: subprocess.Popen[str]) -> None:
    """Before and after each commit, each table made, each file removed."""
    assert killed_everywhere(tmp_path, shipper, "changing") >= 12


@pytest.mark.slow
def test_killed_before_every_call_each_line_is_there_once(tmp_path: Path, shipper: subprocess.Popen[str]) -> None:
    """Before each call into the operating system, Delta Lake's own code and Arrow."""
    assert killed_everywhere(tmp_path, shipper, "every") >= 60


@pytest.mark.slow
def test_killed_at_any_moment_each_line_is_there_once(tmp_path: Path) -> None:
    """Within a commit, too: by the clock."""
    draw, said, killed = random.Random(5), write(tmp_path / "one", 0, 4), 0
    for round_ in range(15):
        code = f"{SHIPPER.partition('for line in')[0]}\nprint('up', flush=True)\nwork(Path({str(tmp_path)!r}))"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.0, 0.08))
        process.kill()
        process.stdout.close()
        killed += process.wait(timeout=60) != 0
        said += write(tmp_path / "one", 10 + 10 * round_, 2)
    lake = Lake(str(tmp_path / "lake"))
    ship(lake, tmp_path / "one", NOW, told_nothing)
    assert killed >= 3
    assert shipped(lake, ANSWERS) == expected(said, Answer)
    assert shipped(lake, FEEDBACK) == expected(said, Feedback)


def test_many_shippers_at_once_ship_each_line_once(tmp_path: Path, lake: Lake) -> None:
    """Without any lease, and while segments come in."""
    said = write(tmp_path / "one", 0, 10)
    errors: list[Exception] = []

    def work() -> None:
        try:
            while ship(lake, tmp_path / "one", NOW, told_nothing):
                pass
        except Exception as error:  # noqa: BLE001 - a thread's failure is told below
            errors.append(error)

    for part in range(3):
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        said += write(tmp_path / "one", 100 * (part + 1), 6)
        for thread in threads:
            thread.join()
    ship(lake, tmp_path / "one", NOW, told_nothing)
    assert errors == []
    assert shipped(lake, ANSWERS) == expected(said, Answer)
    assert shipped(lake, FEEDBACK) == expected(said, Feedback)


# ---- nothing without a word ----------------------------------------------------------------------


def test_torn_changed_and_newer_lines_are_set_aside_and_told_of(tmp_path: Path, lake: Lake) -> None:
    said = write(tmp_path / "one", 0, 6)
    first, *_, last = closed(tmp_path / "one")
    changed = content(first.path).replace(b"85123A", b"99123A", 1)
    newer = b"z" + line_of(answer(7))[1:]
    nobody = line_of(answer(8, prediction_id="of nobody"))
    first.path.write_bytes(changed + newer + nobody)
    torn = line_of(answer(9))[:-20]
    last.path.write_bytes(content(last.path) + torn)
    found: list[Damage] = []
    ship(lake, tmp_path / "one", NOW, found.append)
    assert [(one.segment, one.reasons) for one in found] == [
        (first.path.stem, {"changed": 1, "unknown": 2}),
        (last.path.stem, {"torn": 1}),
    ]
    aside = lake.read(ASIDE).sort_values(["segment", "offset"])
    assert list(aside["reason"]) == ["changed", "unknown", "unknown", "torn"]
    assert bytes(aside["line"].iloc[0]) in changed
    assert [bytes(line) for line in aside["line"].iloc[1:]] == [newer, nobody, torn]
    good = [line for line in expected(said, Answer) if line not in expected(said, Answer)[:1]]
    assert shipped(lake, ANSWERS) == good
    rows = lake.read(SEGMENTS)
    assert int(rows["aside"].sum()) == 4


def test_a_line_that_no_replica_can_have_written_keeps_no_other_from_being_shipped(tmp_path: Path, lake: Lake) -> None:
    far = identity(1, minute=999_999_999_999)  # of a year that no calendar has
    lines = [answer(1, prediction_id=far), answer(2, version=1 << 63), answer(3, revision=-(1 << 70)), answer(4)]
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "00000001-100.log").write_bytes(b"".join(map(line_of, lines)))
    found: list[Damage] = []
    assert ship(lake, folder, NOW, found.append) == 1
    assert [(one.reasons, one.lines) for one in found] == [({"unknown": 3}, 1)]
    assert shipped(lake, ANSWERS) == expected([answer(4)], Answer)


def test_a_folder_that_lost_its_identity_is_not_shipped_anew(tmp_path: Path, lake: Lake) -> None:
    write(tmp_path / "one", 0, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    (tmp_path / "one" / ".folder-id").write_bytes(b"")  # as a power failure leaves a file
    with pytest.raises(StackError, match="folder-id: expected 16 hex digits"):
        ship(lake, tmp_path / "one", NOW, told_nothing)
    assert len(shipped(lake, ANSWERS)) == 3


def test_a_segment_that_another_shipper_cleared_meanwhile_is_no_error(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "one"
    write(folder, 0, 12)
    ship(lake, folder, NOW, told_nothing)
    rest = closed(folder)[-1]

    def faster(*_: object) -> bool:
        clear(lake, folder, LATER, lambda *_: True)
        return True

    assert clear(lake, folder, LATER, faster) == (0, [])
    assert closed(folder) == [rest]


def test_a_span_in_another_zone_is_the_same_span(tmp_path: Path, lake: Lake) -> None:
    write(tmp_path / "one", 0, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    for hours in (-23, 0, 23):
        start = NOW.astimezone(timezone(timedelta(hours=hours)))
        found = Shipped(lake).replied("recommendation", start, start + timedelta(seconds=1))
        assert len(list(found)) == 3


def test_only_what_was_shipped_whole_is_removed_and_the_newest_stays(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "one"
    write(folder, 0, 12)
    before = closed(folder)
    assert clear(lake, folder, LATER, lambda *_: True) == (0, [])  # nothing is shipped
    ship(lake, folder, NOW, told_nothing)
    assert clear(lake, folder, NOW - timedelta(days=1), lambda *_: True) == (0, [])  # nothing is old
    assert clear(lake, folder, LATER, lambda *_: False) == (0, [])  # somebody needs them
    path = before[1].path
    path.write_bytes(content(path).replace(b"85123A", b"99123A", 1))  # after it was shipped
    removed, others = clear(lake, folder, LATER, lambda *_: True)
    assert removed == len(before) - 2
    assert [(one.segment, list(one.reasons)) for one in others] == [(path.stem, ["not what was shipped"])]
    assert [one.path for one in closed(folder)] == [path, before[-1].path]
    Journal(folder, segment_bytes=1500, fsync_seconds=60).close()
    assert segments(folder)[-1].number == before[-1].number + 1  # numbers go on


def test_a_folder_made_anew_is_another_journal(tmp_path: Path, lake: Lake) -> None:
    said = write(tmp_path / "one", 0, 6)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    old = origin_of(tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    said += write(tmp_path / "one", 100, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    assert origin_of(tmp_path / "one") != old
    assert sorted(shipped(lake, ANSWERS)) == sorted(expected(said, Answer))


def test_small_files_become_few_and_say_the_same(tmp_path: Path, lake: Lake) -> None:
    said: list[Entry] = []
    for part in range(6):
        said += write(tmp_path / "one", 10 * part, 2)
        ship(lake, tmp_path / "one", NOW, told_nothing)
    assert compact(lake, SCHEMAS, 6, 168) == 0
    assert compact(lake, SCHEMAS, 5, 168) == 2  # feedback came in fewer files; what is shipped is told in as many
    assert lake.crowded(ANSWERS, 1) == lake.crowded(SEGMENTS, 1) == []
    assert shipped(lake, ANSWERS) == expected(said, Answer)
    assert ship(lake, tmp_path / "one", NOW, told_nothing) == 0  # the transactions are still known
    said += write(tmp_path / "one", 200, 2)
    assert ship(lake, tmp_path / "one", NOW, told_nothing) > 0
    assert shipped(lake, ANSWERS) == expected(said, Answer)


def test_what_is_shipped_is_known_after_a_checkpoint_too(tmp_path: Path, lake: Lake) -> None:
    said = write(tmp_path / "one", 0, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    for table in (ANSWERS, FEEDBACK, SEGMENTS):
        DeltaTable(f"{lake.uri}/{table}").create_checkpoint()
        for entry in sorted((Path(lake.uri) / table / "_delta_log").glob("*.json"))[:-1]:
            entry.unlink()  # as a clean-up of the log does in the end
    assert ship(lake, tmp_path / "one", NOW, told_nothing) == 0
    said += write(tmp_path / "one", 100, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    assert shipped(lake, ANSWERS) == expected(said, Answer)


def test_the_log_holds_no_pseudonym(tmp_path: Path, lake: Lake) -> None:
    write(tmp_path / "one", 0, 3)
    ship(lake, tmp_path / "one", NOW, told_nothing)
    logs = [path.read_text(encoding="utf-8") for path in (Path(lake.uri) / ANSWERS / "_delta_log").glob("*.json")]
    assert logs
    assert not any("p1_" in text for text in logs)
