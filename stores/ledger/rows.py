"""Reads rows back: one that cannot be decoded, or that is not what the audit log tells of, is named with its table.

Used by the modules beside it, one per group of tables.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from errors import TamperError
from records import RecordT, digest_bytes

MEND = "compare the ledger with a backup; do not release until it is explained"


def read(kind: type[RecordT], payload: str, table: str, row: object) -> RecordT:
    """The record of a row. Raises TamperError for a payload that is none."""
    try:
        return kind.from_json(payload)
    except msgspec.DecodeError as error:
        raise differs(table, row, expected=f"a {kind.__name__}", got=str(error)) from error


def detail(text: str, sequence: int) -> dict[str, Any]:
    """The detail of an audit entry. Raises TamperError for what is no JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise differs("audit", f"entry {sequence}", expected="a detail that can be read", got=str(error)) from error


def is_told(kind: type[RecordT], payload: str, digest: str) -> bool:
    """True when a payload is the one of this digest, as bytes or read back; rows of before a field was added keep theirs."""
    if digest_bytes(payload.encode()) == digest:
        return True
    try:
        return kind.from_json(payload).digest == digest
    except msgspec.DecodeError:
        return False


def refuse_other(kind: type[RecordT], payload: str, digest: str, table: str, row: object) -> RecordT:
    """The record of a row. Raises TamperError when it is another than the audit log tells of."""
    found = read(kind, payload, table, row)
    if not is_told(kind, payload, digest):
        raise differs(table, row, expected="the one that the audit log tells of", got="another")
    return found


def refuse_missing(table: str, there: AbstractSet[str], told: AbstractSet[str]) -> None:
    """Raises TamperError for the first row that is gone, or that the audit log does not tell of."""
    if gone := sorted(told - there):
        raise differs(table, gone[0], expected="a row, as the audit log tells of it", got="none")
    if new := sorted(there - told):
        raise differs(table, new[0], expected="an audit entry that tells of it", got="none")


def refuse_moved(columns: tuple[object, ...], payload: tuple[object, ...], table: str, row: object) -> None:
    """Raises TamperError when the columns that a row is found by are not what its payload says."""
    if columns != payload:
        raise differs(table, row, expected="columns that say what its payload says", got=columns)


def differs(table: str, row: object, *, expected: str, got: object) -> TamperError:
    return TamperError(f"{table} {row}", expected=expected, got=got, do=MEND)
