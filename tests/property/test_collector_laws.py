"""No body, however strange, gets past the collector's edge as anything but events, verdicts or one refusal."""

import string
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.clock_skew import event_time_ms
from ingest.errors import EventRejectedError, RequestRefusedError
from ingest.events import TIMESTAMP_MS_FLOOR, Event, decode_event, encode_event
from ingest.rejections import explain_decoding, message_id_of, rejected_record
from ingest.settings import CollectorSettings
from ingest.validation import Circumstances, accept_event, decode_sent
from ingest.wire import split_body

NOW_MS = 1_784_000_000_000
SECRET = b"s" * 32
SETTINGS = CollectorSettings(batch_events_max=50)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "message_id",
        "event",
        "anonymous_id",
        "user_id",
        "timestamp",
        "sent_at",
        "items",
        "value",
        "consent",
        "session_id",
    ]
)
good = {"message_id": "0123456789", "event": "view_item", "anonymous_id": "b", "items": [{"item_id": "a"}]}
nearly_events = st.dictionaries(fields, json_values, max_size=3).map(lambda changes: good | changes)
wild_bytes = st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode)


def judge(body: bytes) -> list[Any]:
    """As `Collector.accept` does, without the bus."""
    batch = split_body(body, content_type="application/json", settings=SETTINGS)
    given_ = Circumstances(NOW_MS, False, batch.sent_at, SECRET, SETTINGS)
    found: list[Any] = []
    for raw in batch.events:
        try:
            found.append(accept_event(decode_sent(raw, bytes_max=10_000), given_))
        except EventRejectedError as error:
            found.append(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            found.append(explain_decoding(error, bytes(raw)))
            message_id_of(bytes(raw))
    return found


@given(wild_bytes)
@settings(max_examples=300, deadline=None)
def test_wild_bytes_are_judged_or_refused(body: bytes) -> None:
    try:
        found = judge(body)
    except RequestRefusedError as refusal:
        found = [refusal]

    assert found


@given(st.lists(nearly_events | json_values, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_each_event_of_a_batch_gets_its_own_verdict(events: list[Any]) -> None:
    together = judge(msgspec.json.encode(events))
    alone = [judge(msgspec.json.encode([event]))[0] for event in events]

    assert [_told(found) for found in together] == [_told(found) for found in alone]


@given(nearly_events)
@settings(max_examples=200, deadline=None)
def test_an_accepted_event_is_one_that_every_reader_decodes(event: dict[str, Any]) -> None:
    (found,) = judge(msgspec.json.encode([event]))

    if isinstance(found, Event):
        assert decode_event(encode_event(found)) == found


@given(nearly_events, st.text(string.ascii_letters, min_size=12, max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_raw_id_outlives_the_collector(event: dict[str, Any], name: str) -> None:
    raw_id = f"<{name}>"
    body = msgspec.json.encode(event | {"anonymous_id": raw_id, "user_id": raw_id})
    (found,) = judge(body)

    if isinstance(found, Event):
        kept = encode_event(found)
    else:
        told = rejected_record(found, body, secret=SECRET, rejected_at_ms=NOW_MS, bytes_max=10_000)
        kept = msgspec.json.encode(told)
    assert raw_id.encode() not in kept


@given(
    st.integers(TIMESTAMP_MS_FLOOR, NOW_MS),
    st.integers(-(10**10), 10**10),
    st.integers(0, 10**6),
)
def test_a_wrong_clock_changes_nothing_once_corrected(happened_ms: int, wrong_by_ms: int, delay_ms: int) -> None:
    if happened_ms + wrong_by_ms < TIMESTAMP_MS_FLOOR:
        return
    received_at_ms = happened_ms + delay_ms

    time_ms, client_ms = event_time_ms(
        happened_ms + wrong_by_ms, received_at_ms + wrong_by_ms, received_at_ms=received_at_ms, future_ms_max=0
    )

    assert (time_ms, client_ms) == (happened_ms, happened_ms + wrong_by_ms)


def _told(found: Event | EventRejectedError) -> object:
    if isinstance(found, Event):
        return found
    return found.code, found.wanted, found.got, found.next_step
