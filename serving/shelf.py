"""Answers that left this replica's disk, looked up in the lake: off the loop, one at a time, for so long and no longer.

The first look-up imports the lake's library: with it a replica grows by some 100 MB, which it does not pay for before.
Used by `serving.feedback`.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from errors import DataError, NotFound
from stores.lookup import Found, about, joined

log = logging.getLogger(__name__)
SECONDS = 5.0
WAITING = 16  # look-ups in line; one more is told to come back


class Shelf:
    """The look-ups of one replica. Used on the loop only.

    Args:
        uri: of the lake.
        folder: `home/journal/REPLICA`: feedback for an old answer may stand here still.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri, self._folder = uri, folder
        self._waiting = 0
        self._hands = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shelf")

    async def find(self, prediction_id: str) -> Found | None:
        """What is known of an answer that is not here; None when the lake does not have it either.

        Raises:
            DataError: while the lake is away or slow, or too many wait.
            TamperError: for a line that was changed.
        """
        if self._waiting >= WAITING:
            raise DataError("old answers", expected="a lake that keeps up", got=f"{self._waiting} look-ups in line")
        self._waiting += 1
        work = asyncio.get_running_loop().run_in_executor(self._hands, self._look, prediction_id)
        work.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(work), SECONDS)
        except (NotFound, DataError, OSError, TimeoutError) as error:
            log.warning("%s not looked up: %r", prediction_id, error)
            raise DataError("old answers", expected="the lake", got="none, or a slow one") from error

    def close(self) -> None:
        self._hands.shutdown(wait=False, cancel_futures=True)

    def _done(self, work: asyncio.Future[Found | None]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()  # who waited has it; one that came too late is in nobody's way

    def _look(self, prediction_id: str) -> Found | None:
        from stores.shipped import shipped_to  # noqa: PLC0415 - heavy: only a replica that needs it pays

        shipped = shipped_to(self._uri)
        if not shipped.begun:  # the answer is not here any more, so it was shipped: that lake is not there
            raise NotFound("shipped answers", expected="the lake they went to", got="none")
        lines = [*shipped.about(prediction_id), *about(self._folder, prediction_id)]
        return joined(lines).get(prediction_id)
