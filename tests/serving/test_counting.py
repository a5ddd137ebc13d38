"""Counters from the journal: each line once, whatever dies or is away in between."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from msgspec.structs import replace

from errors import LedgerUnavailable
from records import Counter
from serving import counting
from serving.counting import Mark, Tally, count, fold
from stores.journal import Journal
from stores.ledger import counters
from stores.ledger.engine import Ledger
from stores.segments import Entry, content, line_of, segments
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


DEEDS = st.lists(
    st.sampled_from(["answer", "failed", "pair", "feedback", "count", "count", "ledger away", "lost commit", "restart"]),
    min_size=1, max_size=40,
)  # fmt: skip


def entry(deed: str, serial: int) -> Entry:
    if deed == "failed":
        return answer(serial, salt="s", arm="rules", version=0, override="error", failed_arm="canary", failed_version=2)
    if deed == "pair":
        return PAIR
    return feedback(serial) if deed == "feedback" else answer(serial, salt="s")


@hypothesis.given(deeds=DEEDS, segment_bytes=st.sampled_from([300, 1500, 1 << 20]))
@hypothesis.settings(max_examples=25, deadline=None)
def test_what_was_folded_while_it_was_written_is_what_reading_it_back_gives(
    deeds: list[str], segment_bytes: int
) -> None:
    """Whatever comes in between: restarts, a ledger that fails before its commit, one whose commit nobody heard of."""
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        folder, ledger = Path(made) / "one", Ledger.open(f"sqlite:///{made}/ledger.db", "serving")
        tally = Tally()
        writer = Journal(folder, segment_bytes=segment_bytes, fsync_seconds=60, wrote=tally.wrote)
        for serial, deed in enumerate(deeds):
            if deed == "count":
                count(ledger, folder, tally)
            elif deed == "restart":
                writer.close()
                tally = Tally()
                writer = Journal(folder, segment_bytes=segment_bytes, fsync_seconds=60, wrote=tally.wrote)
            elif deed in {"ledger away", "lost commit"}:
                patch.setattr(counters, "add", failing(counters.add, after=deed == "lost commit"))
                with suppress(LedgerUnavailable):
                    count(ledger, folder, tally)
                patch.undo()
            else:
                writer.append(entry(deed, serial))
        writer.close()
        count(ledger, folder, tally)
        written = [line for one in segments(folder) for line in one.path.read_bytes().splitlines(keepends=True)]
        asked = ("arm", "version", "bucket", "answers", "errors", "matured", "total", "cross")
        assert [
            tuple(getattr(row, name) for name in asked) for row in counters.totals(ledger, "recommendation", "s")
        ] == sorted(tuple(getattr(row, name) for name in asked) for row in fold(written)[0])
        ledger.close()


def failing(add: Callable[..., None], *, after: bool) -> Callable[..., None]:
    """`counters.add` of a ledger that goes away before its commit, or right after it."""

    def instead(*given: object, **named: object) -> None:
        if after:
            add(*given, **named)
        raise LedgerUnavailable("the ledger", got="gone")

    return instead


def test_what_is_written_while_the_journal_is_read_back_counts_once(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tally = tmp_path / "one", Tally()
    writer = Journal(folder, segment_bytes=1 << 20, fsync_seconds=60, wrote=tally.wrote)
    writer.append(answer(0, salt="s"))

    def meanwhile(path: Path, *where: int) -> bytes:
        writer.append(answer(1, salt="s"))
        return content(path, *where)

    with monkeypatch.context() as patch:
        patch.setattr(counting, "content", meanwhile)
        count(ledger, folder, tally)
    assert totals(ledger) == {("champion", 1): (1, 0, 0, 0)}
    for _ in range(2):
        count(ledger, folder, tally)
        assert totals(ledger) == {("champion", 1): (2, 0, 0, 0)}
    writer.close()


def test_nothing_is_read_back_while_the_fold_begins_at_the_watermark(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tally = tmp_path / "one", Tally()
    writer = Journal(folder, segment_bytes=2000, fsync_seconds=60, wrote=tally.wrote)
    writer.append(answer(0, salt="s"))
    count(ledger, folder, tally)  # where a replica begins: everything that stands there
    monkeypatch.setattr(counting, "segments", lambda _: pytest.fail("the journal was read"))
    for serial in range(1, 30):  # over several segments
        writer.append(answer(serial, salt="s"), PAIR)
        count(ledger, folder, tally)
        count(ledger, folder, tally)
    assert totals(ledger) == {("champion", 1): (30, 0, 0, 0), ("canary", 2): (0, 0, 0, 29)}
    writer.close()


def test_marks_are_read_as_written() -> None:
    assert Mark.parse(str(Mark(12, 345))) == Mark(12, 345)
    assert Mark.parse("") == Mark(0, 0)
