"""Bodies come in several shapes; each gives the same events."""

import msgspec
import pytest

from ingest.errors import RequestRefusedError
from ingest.settings import CollectorSettings
from ingest.wire import SentBatch, mend_text, split_body

SETTINGS = CollectorSettings(body_bytes_max=1_000, batch_events_max=3)


def split(body: bytes, content_type: str = "application/json") -> SentBatch:
    return split_body(body, content_type=content_type, settings=SETTINGS)


def refused(body: bytes, content_type: str = "application/json") -> RequestRefusedError:
    with pytest.raises(RequestRefusedError) as caught:
        split(body, content_type)
    return caught.value


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"events": [{"a": 1}, {"b": 2}]}', "application/json"),
        (b'{"batch": [{"a": 1}, {"b": 2}]}', "application/json; charset=utf-8"),
        (b' [{"a": 1}, {"b": 2}]', "text/plain;charset=UTF-8"),
        (b'{"a": 1}\n\n{"b": 2}\r\n', "application/x-ndjson"),
    ],
)
def test_every_shape_gives_the_same_events(body: bytes, content_type: str) -> None:
    assert [msgspec.json.decode(raw) for raw in split(body, content_type).events] == [{"a": 1}, {"b": 2}]


def test_a_single_event_is_its_own_batch() -> None:
    assert split(b'{"event": "search"}').events == [b'{"event": "search"}']


def test_the_batch_says_when_it_was_sent() -> None:
    assert split(b'{"events": [{}], "sent_at": 1784000000000}').sent_at == 1_784_000_000_000


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"x" * 1_001, "application/json", 413, "body_too_large"),
        (b"[{},{},{},{}]", "application/json", 413, "too_many_events"),
        (b"{}", "text/html", 415, "unsupported_content_type"),
        (b"{}", "", 415, "unsupported_content_type"),
        (b'{"events": [', "application/json", 400, "broken_json"),
        (b"[{},{bad}]", "application/json", 400, "broken_json"),
        (b"", "application/json", 400, "broken_json"),
        (b"[" * 900, "application/json", 400, "broken_json"),
        (b'"click"', "application/json", 422, "not_a_batch"),
        (b'{"events": 3}', "application/json", 422, "not_a_batch"),
        (b'{"events": [{}], "sent_at": "yesterday"}', "application/json", 422, "bad_sent_at"),
        (b"[]", "application/json", 422, "empty_batch"),
        (b"\n\n", "application/x-ndjson", 422, "empty_batch"),
    ],
)
def test_what_is_no_batch_is_refused_whole(body: bytes, content_type: str, status: int, code: str) -> None:
    refusal = refused(body, content_type)

    assert (refusal.status, refusal.code) == (status, code)
    assert refusal.wanted
    assert refusal.got
    assert refusal.next_step


def test_half_an_emoji_does_not_cost_the_batch() -> None:
    body = rb'[{"search_term": "shoes \ud83d"}, {"search_term": "\ud83d\ude00 a\\ud83d"}]'

    first, second = (msgspec.json.decode(raw)["search_term"] for raw in split(body).events)

    assert (first, second) == ("shoes �", "😀 a\\ud83d")


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert mend_text(b'"caf\xe9"') == '"caf�"'.encode()
