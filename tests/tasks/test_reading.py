"""Reading the journals: damage, lines of a newer release, and segments that changed behind the watermark."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from records import Answer, Feedback
from stores.lake import Lake
from stores.segments import SEALED, line_of
from stores.shipped import Shipped
from tasks.reading import Journals, Sought, Stretch, stretches, with_outcomes

NOW = datetime(2026, 11, 10, tzinfo=UTC)


ALL = Sought("m")


def here(root: Path) -> Journals:
    """A disk, and a lake that has nothing."""
    return Journals(root, Shipped(Lake(str(root / "no-lake"))))


def line(number: int) -> bytes:
    entry = Answer(
        prediction_id=f"id-{number}", model="m", arm="champion", version=1, artifact="a", revision=1, event_time=NOW,
        received_at=NOW, subject="p1_x", bucket=1, decision={"items": [str(number)]}, overruled=False, features=None,
        salt="s",
    )  # fmt: skip
    return line_of(entry)


def newer(number: int) -> bytes:
    """As a replica of a later release writes it: one field more."""
    body = msgspec.json.encode({**msgspec.json.decode(line(number)[11:-1]), "region": "eu"})
    return b"a %08x %b\n" % (zlib.crc32(body), body)


def segment(folder: Path, *parts: bytes, suffix: str = SEALED) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"1-100{suffix}"
    path.write_bytes(b"".join(parts))
    return path


def only(folder: Path) -> Stretch:
    (found,) = stretches(folder, {})
    return found


def test_a_line_of_a_newer_release_is_no_damage(tmp_path: Path) -> None:
    segment(tmp_path, line(1), newer(2), line(3), b"z" + line(4)[1:])  # a letter we do not know, too
    found = only(tmp_path)
    assert (len(found.entries), found.damaged, found.unknown) == (2, 0, 2)
    assert found.end == sum(map(len, (line(1), newer(2), line(3), line(4))))


def test_a_line_that_does_not_fit_its_checksum_is_damage(tmp_path: Path) -> None:
    segment(tmp_path, line(1), newer(2).replace(b"eu", b"us"), line(3))
    found = only(tmp_path)
    assert (len(found.entries), found.damaged, found.unknown) == (2, 1, 0)


def test_a_segment_that_grew_goes_on_and_one_shipped_whole_later_is_read_anew(tmp_path: Path) -> None:
    whole = [line(number) for number in range(30)]
    path = segment(tmp_path, *whole[:10], *whole[20:25])
    first = only(tmp_path)
    marks = {first.segment: first.mark}
    segment(tmp_path, *whole[:10], *whole[20:])
    (grown,) = stretches(tmp_path, marks)
    assert (grown.start, grown.mark.generation, len(grown.entries)) == (first.end, 0, 5)
    segment(tmp_path, *whole)
    (anew,) = stretches(tmp_path, marks)
    assert (anew.start, anew.mark.generation, len(anew.entries)) == (0, 1, 30)
    path.write_bytes(b"".join(whole[:4]))  # on its way again: what was read stays
    assert not list(stretches(tmp_path, {anew.segment: anew.mark}))


def test_a_segment_that_is_cleared_while_others_are_read_is_passed_over(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}-100.log" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        path.write_bytes(line(number))
    found = stretches(tmp_path, {})
    names = [next(found).segment]
    paths[1].unlink()
    assert [*names, *(one.segment for one in found)] == ["1-100", "3-100"]


def test_a_folder_made_anew_is_another_segment_though_it_is_shorter(tmp_path: Path) -> None:
    segment(tmp_path, *[line(number) for number in range(30)])
    mark = only(tmp_path).mark
    segment(tmp_path, *[line(number) for number in range(100, 110)])
    (anew,) = stretches(tmp_path, {"1-100": mark})
    assert (anew.start, anew.mark.generation, len(anew.entries)) == (0, 1, 10)


def fed(number: int, outcome: str) -> bytes:
    one = Feedback(
        prediction_id=f"id-{number}", model="m", outcome=outcome, event_time=NOW, received_at=NOW, key="test"
    )
    return line_of(one)


def test_answers_come_with_their_first_feedback_and_only_so_many_are_held(tmp_path: Path) -> None:
    for replica, numbers in (("a", range(3)), ("b", range(10, 14))):
        answers = [line(number) for number in numbers]
        segment(tmp_path / replica, *answers, fed(numbers[-1], "yes"), fed(numbers[-1], "late"), fed(99, "lost"))

    journals = here(tmp_path)

    def found(most: int) -> list[tuple[str, object]]:
        pairs = with_outcomes(journals, lambda one: one.prediction_id != "id-1", ALL, NOW, most)
        return [(answer.prediction_id, feedback and feedback.outcome) for answer, feedback in pairs]

    rest = [("id-10", None), ("id-11", None), ("id-12", None), ("id-13", "yes")]
    assert found(99) == [("id-0", None), ("id-2", "yes"), *rest]
    assert found(2) == rest[-2:]
    assert with_outcomes(journals, lambda one: True, ALL, NOW + timedelta(seconds=1), 99) == []
    assert with_outcomes(here(tmp_path / "nowhere"), lambda one: True, ALL, NOW, 99) == []
