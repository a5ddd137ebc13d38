"""Pairs out of journals: of two replicas, while they are written to, shipped and cleared; each once, and no one else's."""

from __future__ import annotations

import shutil
from dataclasses import replace as changed
from datetime import timedelta
from math import isnan
from pathlib import Path

from msgspec.structs import replace

from records import Answer
from stores.lake import Lake
from stores.segments import SEALED, Entry, closed, segments
from stores.shipping import clear, ship
from tasks.shadow_pairs import Read, read
from tests.tasks.beside import NOW, answer, asked, decision, feedback, journal, journals, score

LATER = NOW + timedelta(days=30)


def said(found: Read) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(one.live.subject, one.champion.items, one.candidate.items) for one in found.pairs]


def written(root: Path, *lines: Entry, replica: str = "one") -> None:
    made = journal(root, replica)
    made.append(*lines)
    made.close()


def test_pairs_of_two_replicas_that_go_on_writing(tmp_path: Path) -> None:
    writing = {name: journal(tmp_path, name, 4096) for name in ("one", "two")}
    lives = [answer(serial, replica="one" if serial % 2 else "two") for serial in range(40)]
    for live in lives:
        writing[live.prediction_id.split(".")[5]].append(live)
    for live in lives[::-1]:  # the scores come later, and in another order
        writing[live.prediction_id.split(".")[5]].append(score(live, "x"))
    writing["one"].flush()  # rotated segments are sealed, the newest is open
    kinds = {one.path.suffix for one in segments(tmp_path / "journal" / "one")}
    found = read(journals(tmp_path), asked)
    for one in writing.values():
        one.close()
    assert kinds == {".open", SEALED}
    assert said(found) == [(f"p1_{serial}", ("a", "b"), ("x",)) for serial in range(40)]
    assert (found.seen, found.failed, found.alone, found.unreadable, found.sampled) == (40, 0, 0, 0, False)
    assert said(read(journals(tmp_path), asked)) == said(found)


def test_what_was_shipped_and_cleared_is_read_from_the_lake_and_nothing_twice(tmp_path: Path) -> None:
    lake, folder = Lake(str(tmp_path / "lake")), tmp_path / "journal" / "one"
    writer = journal(tmp_path, segment_bytes=4096)
    for serial in range(30):
        live = answer(serial)
        writer.append(live, score(live, "x"), feedback(live, "a"))
    writer.flush()
    assert ship(lake, folder, NOW, lambda damage: None) == len(closed(folder)) > 3
    removed, _ = clear(lake, folder, LATER, lambda segment, size: segment.number != 2)  # one that is shipped stays
    assert removed > 1
    late = answer(99)
    writer.append(late, score(late, "y"))
    found = read(journals(tmp_path), asked)
    writer.close()
    assert said(found) == [
        *((f"p1_{serial}", ("a", "b"), ("x",)) for serial in range(30)),
        ("p1_99", ("a", "b"), ("y",)),
    ]
    assert [one.outcome for one in found.pairs] == [*[{"purchased": ["a"]}] * 30, None]
    assert (found.seen, found.alone) == (31, 0)


def test_a_folder_made_anew_hides_nothing_of_the_one_before(tmp_path: Path) -> None:
    """Its segments count from 1 again; those of the old disk are in the lake under the same numbers."""
    lake, folder = Lake(str(tmp_path / "lake")), tmp_path / "journal" / "one"
    for serial in (1, 2):
        live = answer(serial)
        written(tmp_path, live, score(live))
        ship(lake, folder, NOW, lambda damage: None)
        if serial == 1:
            shutil.rmtree(folder)
    assert [one[0] for one in said(read(journals(tmp_path), asked))] == ["p1_1", "p1_2"]


def test_a_candidate_that_failed_on_every_request_leaves_no_pair(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(5)]
    written(tmp_path, *lives, *(score(live, decision=None, override="error") for live in lives))
    found = read(journals(tmp_path), asked)
    assert (found.pairs, found.seen, found.failed, found.sampled) == ([], 5, 5, False)


def test_scores_that_are_no_numbers_leave_the_rest(tmp_path: Path) -> None:
    live = answer(1)
    late = score(live, decision={"items": ["x"], "scores": [float("nan")], "value": None}, override="deadline")
    written(tmp_path, live, late)
    found = read(journals(tmp_path), asked)
    assert found.pairs[0].candidate.items == ("x",)
    assert isnan(found.pairs[0].candidate.scores[0])
    assert (found.late, found.unreadable) == (1, 0)


def test_a_line_that_is_there_again_counts_once(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(4)]
    written(tmp_path, *lives, *lives, *map(score, lives), *map(score, lives))
    folder = tmp_path / "journal" / "one"
    (first,) = segments(folder)
    shutil.copy(first.path, first.path.with_suffix(".open"))  # as a copy of the disk taken while it was sealed
    shutil.copytree(folder, tmp_path / "journal" / "two")  # and another replica's, by mistake
    assert len(read(journals(tmp_path), asked).pairs) == 4


def test_other_lines_are_nobodys_pairs(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(7)]
    others = [
        score(lives[0], salt="another rollout"),
        score(lives[1], version=3),
        score(lives[2], artifact="another"),
        score(lives[3], arm="control"),
        score(answer(50)),  # its answer is elsewhere
        replace(
            score(lives[4]), prediction_id=lives[4].prediction_id.replace("recommendation", "demand"), model="demand"
        ),
        score(lives[6]),
    ]
    lives[6] = replace(lives[6], arm="rules", version=0, artifact="", override="error")
    written(tmp_path, *lives, *others)
    found = read(journals(tmp_path), asked)
    assert (found.pairs, found.alone) == ([], 2)


def test_beside_its_own_answers_the_champion_is_what_is_scored(tmp_path: Path) -> None:
    mine = answer(1, "mine")
    live = score(mine, "mine", paired_with="")
    other = replace(answer(1, "theirs"), paired_with=live.prediction_id)
    written(tmp_path, live, other)
    (found,) = read(journals(tmp_path), asked).pairs
    assert (found.live.arm, found.champion.items, found.candidate.items) == ("canary", ("theirs",), ("mine",))


def test_of_more_pairs_than_are_held_a_sample_is_taken_whatever_their_order(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(200)]
    written(tmp_path / "there", *lives, *map(score, lives))
    written(tmp_path / "back", *lives[::-1], *map(score, lives[::-1]))
    there, back = (read(journals(tmp_path / name), asked, most=20) for name in ("there", "back"))
    assert (len(there.pairs), there.seen, there.sampled) == (20, 200, True)
    assert said(there) == said(back)
    assert not read(journals(tmp_path / "there"), asked, most=200).sampled


def test_the_first_feedback_counts_and_none_after_the_window(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(3)]
    hour = timedelta(hours=1)
    told = [
        feedback(lives[0], "late", late=2 * hour),
        feedback(lives[1], "second", late=hour),
        feedback(lives[1], "first"),
    ]
    written(tmp_path, *lives, *map(score, lives), *told)
    outcomes = [one.outcome for one in read(journals(tmp_path), asked).pairs]
    assert outcomes == [{"purchased": ["late"]}, {"purchased": ["first"]}, None]
    short = changed(asked, window_seconds=5400.0)
    assert [one.outcome for one in read(journals(tmp_path), short).pairs] == [None, {"purchased": ["first"]}, None]


def test_damage_is_counted_and_hides_nothing_else(tmp_path: Path) -> None:
    lives = [answer(serial) for serial in range(3)]
    odd = score(answer(7), decision={"no": "decision"})
    written(tmp_path, *lives, *map(score, lives), odd)
    (segment,) = segments(tmp_path / "journal" / "one")
    data = segment.path.read_bytes()
    segment.path.write_bytes(data.replace(b'"revision":2', b'"revision":3', 1))
    found = read(journals(tmp_path), asked)
    assert (len(found.pairs), found.unreadable, found.alone) == (2, 2, 1)


def test_segments_of_before_the_rollout_are_not_opened(tmp_path: Path) -> None:
    live = answer(1)
    written(tmp_path, live, score(live))
    folder = tmp_path / "journal" / "one"
    (segment,) = segments(folder)
    segment.path.rename(folder / f"00000001-{segment.minute - 500}{SEALED}")
    (folder / f"00000002-{segment.minute - 400}{SEALED}").write_bytes(b"")
    assert read(journals(tmp_path), asked).seen == 0


def test_nothing_at_all_is_nothing(tmp_path: Path) -> None:
    found = read(journals(tmp_path), asked)
    assert (found.pairs, found.seen, found.alone) == ([], 0, 0)


def test_decisions_are_as_they_were_said(tmp_path: Path) -> None:
    live = answer(1, decision={**decision("a"), "overruled": ["withdrawn"]}, features={"k": 3})
    written(tmp_path, live, score(live, "x", "y"))
    (found,) = read(journals(tmp_path), asked).pairs
    assert isinstance(found.live, Answer)
    assert (found.champion.overruled, found.candidate.scores, found.live.features) == (
        ("withdrawn",),
        (1.0, 1.0),
        {"k": 3},
    )
