"""What a replica watches on its own machine."""

import resource
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from serving.keys import path_of
from serving.local import Local
from tests.serving.inside import inside
from tests.serving.town import Town, wait_for


def test_a_thread_that_died_is_seen_in_healthz(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        dead = threading.Thread(target=int, name="follow-nobody")
        dead.start()
        dead.join()
        service.service.local.threads.insert(0, dead)
        wait_for(lambda: service.service.local.dead == ("follow-nobody",))
        watcher, service.service.local.thread = service.service.local.thread, dead
        assert service.service.local.dead == ("follow-nobody", "follow-nobody")  # the one that watches is watched, too
        service.service.local.thread = watcher
        assert "thread follow-nobody died" in service.service.degraded
        assert service.ask()["revision"] == 3


def test_a_broken_key_file_keeps_the_old_keys_and_is_told_once(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    with inside(town) as service:
        service.ready()
        path_of(town.settings).write_text("[{")
        wait_for(lambda: "API keys not read again" in caplog.text)
        service.service.local.look()
        assert caplog.text.count("API keys not read again") == 1
        path_of(town.settings).unlink()
        path_of(town.settings).mkdir()  # nothing that can be read at all, as a file of another user
        wait_for(lambda: "directory" in caplog.text)
        assert service.ask()["revision"] == 3
        assert service.service.local.dead == ()
        path_of(town.settings).rmdir()
        path_of(town.settings).write_text("[]")
        wait_for(lambda: service.call("predict", {})[0] == 401)


def test_a_break_glass_file_that_cannot_be_read_is_obeyed_too(town: Town) -> None:
    with inside(town) as service:
        service.ready()
        (town.folder / "serving" / "replica-1" / "force-rules").mkdir()
        wait_for(lambda: service.ask()["override"] == "break_glass")


def test_no_descriptor_left_is_no_broken_glass(tmp_path: Path) -> None:
    local = Local(cast(Any, None), [], cast(Any, None), tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        reason = local._reason()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert reason == ""
