"""The shipper on a real journal, lake and ledger: what left the disk is still found by everybody who reads the journal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from configs.schema import Config
from errors import NotFound, StackError
from records import Answer
from serving.counting import count
from stores.lake import Lake
from stores.ledger import outbox
from stores.segments import closed, content, segments
from stores.shipped import ANSWERS, ASIDE, Shipped
from tasks import ship as shipper
from tasks.profiling import TABLE as PROFILES
from tasks.profiling import watermarks
from tasks.reading import Sought, earlier, journals_of, newest, stretches, with_outcomes
from tasks.ship import Shipment, follow, ship
from tasks.trace import served, trace
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory

DAY = timedelta(days=1)
EVERYTHING = Sought(NAME)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    town = Observatory(tmp_path_factory.mktemp("observatory"))
    town.watched()
    town.prepare()
    town.close()
    return town


@pytest.fixture
def town(built: Observatory, tmp_path: Path) -> Iterator[Observatory]:
    home = tmp_path / "home"
    shutil.copytree(built.folder, home)
    town = Observatory(home)
    town._frame, town._fitted = built._frame, built._fitted  # fitted once for all
    yield town
    town.close()


def impatient(config: Config) -> Config:
    """The house's configuration, but what is shipped may leave at once."""
    service = config.defaults.service.model_copy(update={"journal_keep_seconds": 0.0})
    return config.model_copy(update={"defaults": config.defaults.model_copy(update={"service": service})})


def pass_(town: Observatory) -> Shipment:
    """The journal is closed, counted, profiled and shipped."""
    town.close_journals()
    count(town.ledgers["serving"], town.folder / "journal" / "replica-1")
    town.read()
    return ship(town.settings, impatient(town.config))


def gone(town: Observatory, start: Any, count_: int) -> list[Answer]:
    """Answers that are in the lake and not on the disk any more."""
    lines = town.said(start, count_)
    town.journal().append(town.feedback(lines[1]))
    pass_(town)
    town.said(start, 1)
    pass_(town)
    town.said(start, 1)  # what was counted must be followed by something
    pass_(town)
    here = [content(one.path) for one in segments(town.folder / "journal" / "replica-1")]
    assert not any(lines[0].prediction_id.encode() in data for data in here)
    return lines


def test_only_what_counters_and_monitor_have_read_leaves_the_disk(town: Observatory) -> None:
    folder = town.folder / "journal" / "replica-1"
    config = impatient(town.config)
    for _ in range(3):
        town.said(NOW - DAY, 5)
        town.close_journals()
    assert ship(town.settings, config) == Shipment(shipped=3, removed=0, damaged=0, compacted=0)
    town.read()
    assert ship(town.settings, config).removed == 0  # the counters lag behind
    count(town.ledgers["serving"], folder)
    assert ship(town.settings, town.config).removed == 0  # they stay for a week
    assert ship(town.settings, config).removed == 2
    assert len(closed(folder)) == 1
    town.said(NOW - DAY, 5)
    town.close_journals()
    count(town.ledgers["serving"], folder)
    assert ship(town.settings, config).removed == 1  # what the monitor has read; the newest it has not
    assert len(Lake(town.settings.lake_uri).read(ANSWERS)) == 20


def test_on_a_full_disk_what_was_read_leaves_however_new(town: Observatory) -> None:
    folder = town.folder / "journal" / "replica-1"
    for _ in range(3):
        town.said(NOW - DAY, 2)
        town.close_journals()
    count(town.ledgers["serving"], folder)
    town.read()
    before = closed(folder)
    assert ship(town.settings, town.config).removed == 0  # a week is not over
    assert ship(town.settings, town.config, keep_seconds=0.0).removed == len(before) - 1
    assert closed(folder) == before[-1:]


def test_an_answer_that_left_the_disk_is_traced_and_counted(town: Observatory) -> None:
    lines = gone(town, NOW - DAY, 20)
    found = trace(town.settings, town.config, lines[1].prediction_id)
    assert found["answer"].prediction_id == lines[1].prediction_id
    assert found["feedback"].outcome == {"purchased": ["20000"]}
    late = town.feedback(lines[0], ["20034"], late=DAY)
    town.journal().append(late)  # stands on the disk, its answer does not
    assert trace(town.settings, town.config, lines[0].prediction_id)["feedback"] == late
    with pytest.raises(NotFound, match="or in the lake"):
        trace(town.settings, town.config, town.next_id(NOW))
    minute = lines[0].received_at
    counts = served(town.settings, NAME, minute)["answers_that_minute"]
    here = [one for one in lines if one.received_at < minute + timedelta(minutes=1)]
    assert sum(counts.values()) == len(here) + 2  # and two more of the days after, at the same moment


def test_feedback_for_an_answer_that_left_the_disk_is_joined_once(town: Observatory) -> None:
    lines = gone(town, NOW - DAY, 10)
    journals = journals_of(town.settings)
    late = {
        one.prediction_id: town.feedback(one, late=DAY)
        for one in (*lines[:3], replace(lines[3], prediction_id=town.next_id(NOW)))
    }
    town.journal().append(*late.values())

    def joined() -> set[str]:
        (folder,) = journals.folders
        last = max(stretches(folder, {}), key=lambda one: one.segment)
        return set(earlier(last, late, journals.shipped))

    assert joined() == {lines[0].prediction_id, lines[2].prediction_id}  # of the second one, feedback came before
    town.close_journals()
    ship(town.settings, town.config)  # now the lake has this feedback, too, and it is not "before"
    assert joined() == {lines[0].prediction_id, lines[2].prediction_id}


def test_samples_and_outcomes_reach_back_into_the_lake(town: Observatory) -> None:
    lines = gone(town, NOW - DAY, 30)
    journals = journals_of(town.settings)

    def wanted(line: Answer) -> bool:
        return line.event_time < NOW

    some = newest(journals, wanted, Sought(NAME, (("version", "=", 1), ("event_time", "<", NOW))), 40)
    assert len(some) == len({one.prediction_id for one in some}) == 32
    assert some == sorted(some, key=lambda one: one.received_at)
    assert len(newest(journals, wanted, EVERYTHING, 7)) == 7
    pairs = with_outcomes(journals, wanted, EVERYTHING, NOW - 2 * DAY, 100)
    assert len(pairs) == 32
    assert [answer.prediction_id for answer, fed in pairs if fed] == [lines[1].prediction_id]
    late = town.feedback(lines[5], late=DAY)
    town.journal().append(late)
    fed = {answer.prediction_id: fed for answer, fed in with_outcomes(journals, wanted, EVERYTHING, NOW - 2 * DAY, 100)}
    assert fed[lines[5].prediction_id] == late
    assert with_outcomes(journals, wanted, EVERYTHING, NOW, 100) == []


def test_damage_is_told_once_and_kept(town: Observatory) -> None:
    town.said(NOW - DAY, 5)
    town.close_journals()
    (segment,) = closed(town.folder / "journal" / "replica-1")
    segment.path.write_bytes(content(segment.path).replace(b'"bucket":', b'"bucked":', 1) + b"a 0000")
    assert ship(town.settings, town.config) == Shipment(shipped=1, removed=0, damaged=2, compacted=0)
    assert ship(town.settings, town.config).damaged == 0
    (told,) = [one for one in outbox.pending(town.ledgers["guard"], 100) if "damage" in one.title]
    assert told.body["evidence"] == {"changed": 1, "torn": 1, "lines that were good": 4}
    assert len(Lake(town.settings.lake_uri).read(ASIDE)) == 2


def test_a_segment_that_is_another_one_now_stays_and_is_told(town: Observatory) -> None:
    for _ in range(2):
        town.said(NOW - DAY, 3)
        town.close_journals()
    first = closed(town.folder / "journal" / "replica-1")[0]
    pass_(town)  # takes the first one away
    first.path.write_bytes(b"an older backup, put back\n")
    assert ship(town.settings, impatient(town.config)).damaged == 1
    assert first.path.exists()
    titles = [one.title for one in outbox.pending(town.ledgers["guard"], 100)]
    assert any(first.path.stem in title for title in titles)


def test_a_folder_that_cannot_be_shipped_keeps_no_other_from_it(town: Observatory) -> None:
    town.said(NOW - DAY, 3)
    town.close_journals()
    broken = town.folder / "journal" / "another"
    broken.mkdir()
    (broken / ".folder-id").touch()
    with pytest.raises(StackError, match="journal another"):
        ship(town.settings, town.config)
    assert len(list(Shipped(Lake(town.settings.lake_uri)).replied(NAME, NOW - 2 * DAY, NOW))) == 3


def test_the_profiles_become_few_files_too_and_their_marks_stay(town: Observatory) -> None:
    for _ in range(3):
        town.said(NOW - DAY, 2)
        town.close_journals()
    town.read()
    lake = Lake(town.settings.lake_uri)
    before = watermarks(lake)
    assert len(before) == 3
    service = town.config.defaults.service.model_copy(update={"compact_files": 2})
    defaults = town.config.defaults.model_copy(update={"service": service})
    assert ship(town.settings, town.config.model_copy(update={"defaults": defaults})).compacted == 1
    assert lake.crowded(PROFILES, 1) == []
    assert watermarks(lake) == before
    assert town.read() == 0


def test_the_shipper_goes_on_when_the_ledger_is_back(town: Observatory, caplog: pytest.LogCaptureFixture) -> None:
    town.said(NOW - DAY, 3)
    town.close_journals()
    waits: list[float] = []
    ledger = town.folder / "ledger.db"

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            ledger.with_suffix(".away").rename(ledger)
        else:
            raise KeyboardInterrupt

    for one in town.ledgers.values():
        one.close()
    ledger.rename(ledger.with_suffix(".away"))
    with suppress(KeyboardInterrupt):
        follow(town.settings, town.config, wait)
    assert waits == [town.config.defaults.service.ship_seconds] * 2
    assert "not shipped yet" in caplog.text
    assert len(list(Shipped(Lake(town.settings.lake_uri)).replied(NAME, NOW - 2 * DAY, NOW))) == 3
    assert shipper.replicas(town.folder / "nowhere") == []
