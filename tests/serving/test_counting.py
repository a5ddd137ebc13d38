"""Counters from the journal: each line once, whatever dies or is away in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from errors import LedgerUnavailable
from records import Counter
from serving.counting import Mark, count, fold
from stores.journal import Journal
from stores.ledger import counters
from stores.ledger.engine import Ledger
from stores.segments import Entry, line_of, segments
from tests.stores.test_journal import NOW, answer, feedback


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "serving")
    yield made
    made.close()


def journal(folder: Path, segment_bytes: int = 1 << 20) -> Journal:
    return Journal(folder, segment_bytes=segment_bytes, fsync_seconds=0.01)


def totals(ledger: Ledger) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    found: dict[tuple[str, int], tuple[int, int, int, int]] = {}
    for row in counters.totals(ledger, "recommendation", "s"):
        old = found.get((row.arm, row.version), (0, 0, 0, 0))
        new = (row.answers, row.errors, row.late, row.matured)
        found[row.arm, row.version] = (old[0] + new[0], old[1] + new[1], old[2] + new[2], old[3] + new[3])
    return found


PAIR = Counter(
    model="recommendation", salt="s", arm="canary", version=2, bucket=7, hour=NOW.replace(minute=0, second=0, microsecond=0),
    matured=1, total=1.0, squares=1.0, other_total=0.5, other_squares=0.25, cross=0.5,
)  # fmt: skip


def test_what_each_line_adds() -> None:
    lines: list[Entry] = [
        answer(1, salt="s"),
        answer(2, salt="s", arm="rules", version=0, override="error", failed_arm="canary", failed_version=2),
        answer(3, salt="s", arm="rules", version=0, override="deadline", failed_arm="canary", failed_version=2),
        answer(4, salt="s", arm="champion", override="not_loaded"),
        answer(5, salt="s", arm="canary", version=2, paired_with="x"),  # brings a counter of its own
        answer(6, salt=""),  # no rollout
        feedback(1),
        PAIR,
        replace(PAIR, salt=""),
    ]
    rows, bad = fold([line_of(one) for one in lines] + [b"torn\n"])
    assert bad == 1
    assert {(row.arm, row.version): (row.answers, row.errors, row.late, row.matured) for row in rows} == {
        ("champion", 1): (2, 0, 0, 0),
        ("canary", 2): (2, 1, 1, 1),
    }
    canary = next(row for row in rows if row.arm == "canary")
    assert (canary.total, canary.squares, canary.other_total, canary.cross) == (1.0, 1.0, 0.5, 0.5)
    assert canary.hour == PAIR.hour


def test_lines_are_counted_once_over_segments_and_restarts(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "one"
    for start in (0, 40):
        writer = journal(folder, 4096)
        for serial in range(start, start + 40):
            writer.append(answer(serial, salt="s"), PAIR)
            if serial % 7 == 0:
                assert count(ledger, folder) == 0
        writer.close()
        count(ledger, folder)
        count(ledger, folder)
        assert totals(ledger) == {("champion", 1): (start + 40, 0, 0, 0), ("canary", 2): (0, 0, 0, start + 40)}


def test_a_ledger_that_was_away_is_caught_up_with(tmp_path: Path, ledger: Ledger) -> None:
    folder, path = tmp_path / "one", tmp_path / "ledger.db"
    writer = journal(folder)
    writer.append(answer(1, salt="s"))
    count(ledger, folder)
    path.rename(tmp_path / "away")
    writer.append(answer(2, salt="s"))
    with pytest.raises(LedgerUnavailable):
        count(ledger, folder)
    (tmp_path / "away").rename(path)
    writer.append(answer(3, salt="s"))
    count(ledger, folder)
    assert totals(ledger) == {("champion", 1): (3, 0, 0, 0)}
    writer.close()


def test_a_half_written_line_waits_for_its_other_half(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "one"
    writer = journal(folder)
    writer.append(answer(1, salt="s"))
    path = segments(folder)[0].path
    line = line_of(answer(2, salt="s"))
    with path.open("ab") as file:
        file.write(line[:50])
    count(ledger, folder)
    assert totals(ledger) == {("champion", 1): (1, 0, 0, 0)}
    with path.open("ab") as file:
        file.write(line[50:])
    count(ledger, folder)
    assert totals(ledger) == {("champion", 1): (2, 0, 0, 0)}
    writer.close()


def test_a_changed_line_is_left_out_and_told(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "one"
    writer = journal(folder)
    writer.append(answer(1, salt="s"), answer(2, salt="s"))
    path = segments(folder)[0].path
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":3', 1))
    assert count(ledger, folder) == 1
    assert count(ledger, folder) == 0
    assert totals(ledger) == {("champion", 1): (1, 0, 0, 0)}
    writer.close()


def test_a_journal_that_was_replaced_is_counted_anew(tmp_path: Path, ledger: Ledger) -> None:
    counters.add(ledger, [], source="one", position=str(Mark(9, 1)))
    writer = journal(tmp_path / "one")
    writer.append(answer(1, salt="s"))
    count(ledger, tmp_path / "one")
    assert totals(ledger) == {("champion", 1): (1, 0, 0, 0)}
    writer.close()


def test_marks_are_read_as_written() -> None:
    assert Mark.parse(str(Mark(12, 345))) == Mark(12, 345)
    assert Mark.parse("") == Mark(0, 0)
