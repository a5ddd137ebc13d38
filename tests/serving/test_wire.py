"""Bodies into types: a wrong one names the field, what was expected and what came."""

from datetime import UTC, datetime

import pytest

from errors import InputError, NotFound
from models import contract
from models.recommendation import Outcome, Request
from serving.wire import Forms, Refusal, event_time

FORMS = Forms(contract.find("recommendation"))
ID = "some.id"


def test_one_request_and_a_batch() -> None:
    assert FORMS.requests(b'{"customer": "7", "k": 3}') == ([Request(customer="7", k=3)], False)
    assert FORMS.requests(b'{"requests": [{"k": 3}, {}]}') == ([Request(k=3), Request()], True)
    assert FORMS.requests(b'{"customer": "\\"requests\\""}') == ([Request(customer='"requests"')], False)


def test_unicode_is_a_customer_like_another() -> None:
    body = '{"customer": "Zoë 😀 \\u0000"}'.encode()
    assert FORMS.requests(body)[0] == [Request(customer="Zoë 😀 \0")]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (b"", "$", "a JSON object"),
        (b"not json", "$", "a JSON object"),
        (b'{"k": NaN}', "$", "a JSON object"),
        (b'{"k": Infinity}', "$", "a JSON object"),
        (b'{"customer": "\\ud800"}', "$", "a JSON object"),
        (b'{"customer": "\xff"}', "$", "a JSON object"),
        (b"[]", "$", "object"),
        (b"null", "$", "object"),
        (b'{"k": 1e400}', "$.k", "a valid value"),
        (b'{"k": "10"}', "$.k", "int"),
        (b'{"k": 2.5}', "$.k", "int"),
        (b'{"k": 0}', "$.k", "int >= 1"),
        (b'{"k": 1000000}', "$.k", "int <= 100"),
        (b'{"customer": 7}', "$.customer", "str | null"),
        (b'{"customer": ""}', "$.customer", "str of length >= 1"),
        (b'{"recent": ["a", 3]}', "$.recent[1]", "str"),
        (b'{"recent": [' + b'"a",' * 1000 + b'"a"]}', "$.recent", "array of length <= 1000"),
        (b'{"recent": ' + b"[" * 100_000, "$.recent[0]", "str"),
        (b'{"surprise": 1}', "$.surprise", "a field of the request"),
        (b'{"requests": {}}', "$.requests", "array"),
        (b'{"requests": [{}, {"k": "x"}]}', "$.requests[1].k", "int"),
        (b'{"requests": [{}], "customer": "4"}', "$.customer", "a field of the request"),
        (b'{"requests": 5, "k": 5}', "$.requests", "array"),
        (b'{"requests": ' + b"[" * 100_000, "$", "a JSON object"),
    ],
)
def test_a_wrong_request_names_the_field(body: bytes, field: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        FORMS.requests(body)
    assert (caught.value.thing, caught.value.expected) == (field, expected)
    assert caught.value.got


def test_feedback() -> None:
    body = b'{"prediction_id": "some.id", "outcome": {"purchased": ["85123A"]}}'
    assert FORMS.feedback(body) == (ID, Outcome(purchased=("85123A",)))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "$.prediction_id"),
        (b'{"prediction_id": "x"}', "$.outcome"),
        (b'{"prediction_id": "x", "outcome": {"purchased": "85123A"}}', "$.outcome.purchased"),
        (b'{"prediction_id": "x", "outcome": {"purchased": []}, "more": 1}', "$.more"),
    ],
)
def test_wrong_feedback_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(InputError) as caught:
        FORMS.feedback(body)
    assert caught.value.thing == field


def test_event_time_is_what_rfc_3339_says() -> None:
    for text in ("2011-09-01T12:00:00+02:00", "2011-09-01T10:00:00.000000Z", "2011-09-01T10:00:00.000Z"):
        assert event_time(text) == datetime(2011, 9, 1, 10, tzinfo=UTC)
    for text in ("", "2011-09-01T10:00:00", "2011-09-01", "2011-W35-4T10:00:00Z", "2011-09-01T10:00:00+0000", "yesterday",
                 "9999-12-31T23:59:59-23:00", "2011-13-01T10:00:00Z", "2011-09-01T10:00:00Z\n", "٣"):  # fmt: skip
        with pytest.raises(InputError, match="x-event-time"):
            event_time(text)


def test_a_refusal_is_json_with_what_to_do() -> None:
    body = Refusal(404, NotFound("model 'x'", expected="one of ['y']", got="x", do="look")).body
    assert body == (b'{"error":{"status":404,"field":"model \'x\'","expected":"one of [\'y\']","got":"x","do":"look"}}')
