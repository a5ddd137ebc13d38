"""The journal on a disk that is really full: first the reserve, then an error, and all is well once there is room again.

The disk is a file system of 2 MB that the test mounts in a name space of its own. Where that is forbidden, a limit on the
size of files stands in for it: then the reserve cannot help, and the test says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stores.reserve import Reserve

ROOT = Path(__file__).resolve().parent.parent.parent
DISK = 2 << 20
SCRIPT = """
import json, os, resource, sys, time
from pathlib import Path
from stores.journal import Journal
from stores.segments import entries, segments
from tests.stores.test_journal import answer, identity

how, folder, disk = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
if how == "limit":
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, hard))
journal = Journal(folder / "one", segment_bytes=disk * 4, fsync_seconds=0.02, reserve_bytes=disk // 8)
written, told, states = [], {}, []

def put(serial):
    try:
        journal.append(answer(serial))
        written.append(identity(serial))
        return True
    except OSError as error:
        told.setdefault("error", error.errno)
        return False

def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

if how == "mount":
    ballast = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(ballast, 0, disk - disk // 8 - 200_000)  # leaves room for a few hundred answers
serial = 0
while put(serial):
    if not states or states[-1] != journal.trouble:
        states.append(journal.trouble)
    serial += 1
told["refused_at"] = serial
again = [put(one) for one in range(10_000, 10_003)]
full = journal.trouble
if how == "mount":
    (folder / "ballast").unlink()
    os.close(ballast)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
after = put(20_000)
until(lambda: journal.trouble == "")
held = (folder / "one" / ".reserve").exists()
journal.close()
found = [one.prediction_id for segment in segments(folder / "one") for _, one in entries(segment.path)]
print(json.dumps({**told, "states": states, "again": again, "full": full, "after": after, "held": held,
                  "same": found == written, "many": len(found)}))
"""
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


def mountable(folder: Path) -> bool:
    """Whether this user may mount a file system of its own, out of everybody else's sight."""
    try:
        done = subprocess.run(_mounted(folder, ["true"]), capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _mounted(folder: Path, command: list[str]) -> list[str]:
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", MOUNT, "sh", str(DISK), str(folder), *command]


def told(tmp_path: Path, how: str) -> dict[str, Any]:
    command = [sys.executable, "-c", SCRIPT, how, str(tmp_path), str(DISK)]
    full = _mounted(tmp_path, command) if how == "mount" else command
    done = subprocess.run(full, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_full_disk_costs_the_reserve_first_and_no_line_ever(tmp_path: Path) -> None:
    how = "mount" if mountable(tmp_path) else "limit"
    found = told(tmp_path, how)
    assert found["again"] == [False] * 3
    assert "nothing can be written" in found["full"]
    assert found["after"]  # there is room again
    assert found["held"]
    assert found["same"]  # every line that was taken is there, whole, and no other
    if how == "mount":
        assert found["error"] == 28  # ENOSPC
        assert [bool(state) for state in found["states"]] == [False, True]
        assert "nearly full" in found["states"][1]


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path) -> None:
    found = told(tmp_path, "limit")
    assert found["error"] in {27, 28}  # EFBIG; a write cut short is told as a full disk
    assert found["again"] == [False] * 3
    assert (found["after"], found["same"]) == (True, True)


def test_a_disk_without_room_for_the_reserve_is_told_and_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reserve = Reserve(tmp_path / ".reserve", 1 << 60)
    assert not reserve.held
    assert not reserve.give()
    assert "no reserve of" in caplog.text
    reserve.keep()  # there is still no room
    assert [path.name for path in tmp_path.iterdir()] == []


def test_the_reserve_of_a_dead_process_is_made_anew_and_a_stopped_one_holds_no_room(tmp_path: Path) -> None:
    Reserve(tmp_path / ".reserve", 4096)
    reserve = Reserve(tmp_path / ".reserve", 8192)
    assert (tmp_path / ".reserve").stat().st_size == 8192
    assert reserve.give()
    assert not reserve.give()
    reserve.keep()
    assert reserve.held
    reserve.close()
    assert list(tmp_path.iterdir()) == []
