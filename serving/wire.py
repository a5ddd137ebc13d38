"""What comes in and goes out as bytes: requests into the model's own types, errors into JSON that names the field.

Pure. A body that is wrong in any way becomes an InputError; `serving.rest` makes it a 422.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from errors import GrownetError, InputError
from models.contract import Model

_WHERE = re.compile(r"^(?P<said>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected (?P<expected>.+?)(?:, got (?P<got>.+))?$", re.DOTALL)
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_FIELD = re.compile(r"^Object (?:contains unknown|missing required) field `(?P<name>[^`]*)`$")


class Refusal(Exception):
    """A reply that is no answer: its status, the error it tells of, and headers."""

    def __init__(self, status: int, error: GrownetError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.status, self.error, self.headers = status, error, headers
        super().__init__(str(error))

    @property
    def body(self) -> bytes:
        """Status, field or thing, expected, got, what to do."""
        error = self.error
        facts = {"status": self.status, "field": error.thing, "expected": error.expected, "got": error.got}
        return msgspec.json.encode({"error": {**facts, "do": error.do}})

    @property
    def text(self) -> bytes:
        """The same in a sentence, as the Open Inference Protocol has it."""
        return msgspec.json.encode({"error": str(self.error)})


class Forms:
    """The decoders of one model: a request, a batch of them, and feedback."""

    def __init__(self, model: Model) -> None:
        request: Any = model.Request
        self._one = msgspec.json.Decoder(request)
        self._many = msgspec.json.Decoder(
            msgspec.defstruct("Batch", [("requests", list[request])], forbid_unknown_fields=True)
        )
        self._batch = msgspec.json.Decoder(msgspec.defstruct("Any", [("requests", Any, msgspec.UNSET)]))
        self._feedback = msgspec.json.Decoder(
            msgspec.defstruct(
                "FeedbackBody", [("prediction_id", str), ("outcome", model.Outcome)], forbid_unknown_fields=True
            )
        )

    def requests(self, body: bytes) -> tuple[list[Any], bool]:
        """The requests, and whether they came as a batch.

        Raises:
            InputError: naming the field.
        """
        if b'"requests"' in body:
            try:
                return decode(self._many, body).requests, True
            except InputError:
                if decode(self._batch, body).requests is not msgspec.UNSET:
                    raise  # else the word stood elsewhere in a request
        return [decode(self._one, body)], False

    def feedback(self, body: bytes) -> tuple[str, Any]:
        """The prediction id and the outcome; raises InputError as above."""
        found = decode(self._feedback, body)
        return found.prediction_id, found.outcome


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The decoded body.

    Raises:
        InputError: with the path of the field, what was expected and what came.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError("$", expected="a JSON object", got=f"{error} in {len(body)} bytes") from None


def convert(rows: list[dict[str, Any]], kind: Any, root: str) -> Any:
    """Plain values as a list of `kind`, by the rules of a JSON body.

    Args:
        root: what the rows are called in an error, such as `$.requests`.

    Raises:
        InputError: with the path of the field.
    """
    try:
        return msgspec.convert(rows, kind)
    except msgspec.ValidationError as error:
        found = _named(str(error))
        raise InputError(root + found.thing.removeprefix("$"), expected=found.expected, got=found.got) from None


def event_time(text: str) -> datetime:
    """RFC 3339, which is what the OpenAPI document says, as UTC. Python reads more of ISO 8601, such as dates by week.

    Raises:
        InputError: for anything else.
    """
    wrong = InputError("x-event-time", expected="RFC 3339, such as 2011-09-01T10:00:00Z", got=text[:64])
    if not _TIME.match(text):
        raise wrong
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None


def _named(message: str) -> InputError:
    where = _WHERE.match(message)
    said, path = (where["said"], where["path"]) if where else (message, None)
    field = _FIELD.match(said)
    if field is not None:
        known = "unknown" not in said
        return InputError(
            f"{path or '$'}.{field['name']}",
            expected="a value" if known else "a field of the request",
            got="nothing" if known else "an unknown field",
        )
    parts = _EXPECTED.match(said)
    if parts is None:
        return InputError(path or "$", expected="a valid value", got=said)
    return InputError(
        path or "$", expected=parts["expected"].replace("`", ""), got=(parts["got"] or "another").replace("`", "")
    )
