"""The journal's file format: what one line looks like, which files there are, how they are read back.

`home/journal/REPLICA/NUMBER-MINUTE.open` is being written, `.log` is sealed and may be shipped; MINUTE is when it was
begun. A line is `KIND CRC32 JSON`, so a torn or changed line is seen. Written by `stores.journal` alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from errors import TamperError
from records import Answer, Counter, Feedback

Entry = Answer | Feedback | Counter
OPEN, SEALED = ".open", ".log"
BLOCK = 256 << 10
ANSWER, FEEDBACK, COUNTER = b"a", b"f", b"c"
_LETTERS: dict[type, bytes] = {Answer: ANSWER, Feedback: FEEDBACK, Counter: COUNTER}
_encode = msgspec.json.Encoder().encode
_DECODERS: dict[bytes, msgspec.json.Decoder[Entry]] = {
    letter: msgspec.json.Decoder(kind) for kind, letter in _LETTERS.items()
}


class Place(NamedTuple):
    """Where a line stands."""

    segment: int
    offset: int
    length: int


class Segment(NamedTuple):
    number: int
    minute: int  # since the epoch, when it was begun
    path: Path


def line_of(entry: Entry) -> bytes:
    """One line, newline included; JSON has no newline of its own."""
    body = _encode(entry)
    return b"%b %08x %b\n" % (_LETTERS[type(entry)], zlib.crc32(body), body)


def body_of(line: bytes) -> tuple[bytes, bytes] | None:
    """The letter and the JSON of a line, or None when it is torn or changed."""
    letter, crc, body = line[:1], line[2:10], line[11:].rstrip(b"\n")
    return (letter, body) if letter in _DECODERS and b"%08x" % zlib.crc32(body) == crc else None


def intact(line: bytes) -> bool:
    """Whether a line fits its checksum, though a newer release may have written it in a way we do not know."""
    return b"%08x" % zlib.crc32(line[11:].rstrip(b"\n")) == line[2:10]


def entry_of(line: bytes) -> Entry | None:
    """What a line says, or None when it is torn or changed, or from a newer release (see `intact`)."""
    found = body_of(line)
    try:
        return _DECODERS[found[0]].decode(found[1]) if found else None
    except msgspec.DecodeError:
        return None


def segments(folder: Path) -> list[Segment]:
    """All segments of a replica, oldest first."""
    found = []
    for path in folder.glob("*-*.*"):
        number, _, minute = path.stem.partition("-")
        if path.suffix in {OPEN, SEALED} and number.isdigit() and minute.isdigit():
            found.append(Segment(int(number), int(minute), path))
    return sorted(found)


def closed(folder: Path) -> list[Segment]:
    """The segments of a replica that will not change any more, oldest first: what may be shipped."""
    return [one for one in segments(folder) if one.path.suffix == SEALED]


def content(path: Path, start: int = 0, size: int = -1) -> bytes:
    """Bytes of a segment, also when it is sealed (renamed) at this moment."""
    with _opened(path) as file:
        file.seek(start)
        return file.read(size)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return path.with_suffix(SEALED).open("rb")


def here(segment: Segment) -> bytes:
    """All bytes of a segment; none when it left this disk a moment ago, which it does when the lake has it."""
    try:
        return content(segment.path)
    except FileNotFoundError:
        return b""


def at(path: Path, place: Place) -> Entry:
    """The entry at a place of this segment.

    Raises:
        TamperError: when it is not what was written there.
    """
    entry = entry_of(content(path, place.offset, place.length))
    if entry is None:
        raise changed(path, place.offset)
    return entry


def changed(path: Path, offset: int) -> TamperError:
    return TamperError(
        f"journal {path.name}, byte {offset}",
        expected="a line that fits its checksum",
        got="another",
        do="restore the segment, and find out who wrote there",
    )


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line; what follows the last newline is torn and left out."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield start, data[start : end + 1]
        start = end + 1


def around(data: bytes, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each whole line that has `text` in it; much faster than decoding all."""
    at = data.find(text)
    while at >= 0:
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        if end < 0:
            return
        yield start, data[start : end + 1]
        at = data.find(text, end)


def searched(segment: Segment, text: bytes) -> Iterator[tuple[int, bytes]]:
    """As `around`, of a segment on this disk; block by block, since a search in bytes lets no other thread run."""
    try:
        file = _opened(segment.path)
    except FileNotFoundError:  # as in `here`
        return
    with file:
        start, rest = 0, b""
        while block := file.read(BLOCK):
            data = rest + block
            yield from ((start + offset, line) for offset, line in around(data, text))
            whole = data.rfind(b"\n") + 1
            start, rest = start + whole, data[whole:]


def entries(path: Path, start: int = 0) -> Iterator[tuple[int, Entry]]:
    """The entries of a segment from the offset `start`, and the offset behind each; raises as `entries_of`."""
    return entries_of(path, content(path, start), start)


def entries_of(path: Path, data: bytes, start: int = 0) -> Iterator[tuple[int, Entry]]:
    """The entries of a segment's bytes, which begin at `start`, and the offset behind each.

    A torn end is where a process or a machine died, and is left out.

    Raises:
        TamperError: for a bad line with a good one after it.
    """
    torn = -1
    for offset, line in lines(data):
        entry = entry_of(line)
        if entry is None:
            torn = offset
        elif torn >= 0:
            raise changed(path, start + torn)
        else:
            yield start + offset + len(line), entry


def minute_of(when: datetime) -> int:
    """Minutes since the epoch, as an id and a segment's name have it."""
    return int(when.timestamp() // 60)
