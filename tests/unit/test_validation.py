"""What the collector lets pass, and what it says to what it does not."""

from typing import Any

import msgspec
import pytest

from ingest.errors import EventRejectedError
from ingest.event_names import closest_name
from ingest.events import EVENT_NAMES, Event
from ingest.identity import visitor_key
from ingest.rejections import explain_decoding, rejected_record
from ingest.settings import CollectorSettings
from ingest.validation import Circumstances, accept_event, decode_sent

NOW_MS = 1_784_000_000_000
SECRET = b"s" * 32
VIEW: dict[str, Any] = {
    "message_id": "0123456789abcdef",
    "event": "view_item",
    "anonymous_id": "browser-1",
    "items": [{"item_id": "85123A"}],
}


def judge(event: dict[str, Any], *, privileged: bool = False, sent_at: int | None = None, **limits: Any) -> Event:
    """As the collector does; decoding errors come out as what the sender is told."""
    given = Circumstances(NOW_MS, privileged, sent_at, SECRET, CollectorSettings(**limits))
    raw = msgspec.json.encode(event)
    try:
        sent = decode_sent(raw, bytes_max=given.settings.event_bytes_max)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise explain_decoding(error, raw) from error
    return accept_event(sent, given)


def rejection(event: dict[str, Any], **given: Any) -> EventRejectedError:
    with pytest.raises(EventRejectedError) as caught:
        judge(event, **given)
    return caught.value


def test_an_event_is_kept_without_the_raw_id() -> None:
    event = judge(VIEW | {"user_id": "anna@example.org"})

    assert event.visitor_key == visitor_key("browser-1", secret=SECRET).hex()
    assert event.user_key == visitor_key("anna@example.org", secret=SECRET).hex()
    assert b"browser-1" not in msgspec.json.encode(event)
    assert b"anna" not in msgspec.json.encode(event)


def test_a_server_without_a_browser_is_known_by_its_user() -> None:
    event = judge({**VIEW, "anonymous_id": None, "user_id": "u-7"})

    assert event.visitor_key == event.user_key == visitor_key("u-7", secret=SECRET).hex()


def test_names_of_other_systems_are_ours_in_the_end() -> None:
    names = ["Product Added", "add-to-cart", "AddCartAddition", "add_to_cart"]

    assert {judge(VIEW | {"event": name}).event for name in names} == {"add_to_cart"}


def test_unknown_fields_pass() -> None:
    assert judge(VIEW | {"from_a_newer_snippet": {"a": 1}}).event == "view_item"


@pytest.mark.parametrize(
    ("change", "code", "got"),
    [
        ({"event": "viewed_item"}, "unknown_event", "viewed_item"),
        ({"items": []}, "missing_item", "none"),
        ({"items": [{"price": 3}]}, "missing_item_id", "an object without it"),
        ({"items": [{"item_id": "a"}] * 201}, "too_many_items", "201 items"),
        ({"items": [{"item_id": ""}]}, "bad_field", '""'),
        ({"items": [{"item_id": "a", "quantity": 0}]}, "bad_field", "0"),
        ({"anonymous_id": None}, "missing_visitor", "neither"),
        ({"anonymous_id": 12345}, "bad_field", "int"),
        ({"anonymous_id": "x" * 129}, "bad_field", "str of length 129"),
        ({"message_id": "short"}, "bad_field", '"short"'),
        ({"message_id": None}, "bad_field", "null"),
        ({"consent": "maybe"}, "bad_field", '"maybe"'),
        ({"timestamp": 1_784_000_000}, "seconds_not_milliseconds", "1784000000, which is a time in seconds"),
        ({"timestamp": 1_784_000_000_000_000}, "not_milliseconds", "1784000000000000, too large for milliseconds"),
        ({"timestamp": 10**40}, "not_milliseconds", f"{'1' + '0' * 31}, too large for milliseconds"),
        ({"timestamp": -5}, "time_too_old", "-5"),
        ({"timestamp": "2026-07-14T12:00:00"}, "time_without_zone", "2026-07-14T12:00:00"),
        ({"timestamp": NOW_MS + 300_001}, "future_time", "300001 ms ahead"),
        ({"timestamp": NOW_MS - 86_400_001}, "late_event", "86400001 ms old"),
        ({"timestamp": NOW_MS - 86_400_001, "sent_at": 1_784_000_000}, "seconds_not_milliseconds", "1784000000"),
        ({"search_term": "x" * 40_000}, "event_too_large", "bytes"),
    ],
)
def test_a_rejection_says_what_came(change: dict[str, Any], code: str, got: str) -> None:
    error = rejection(VIEW | change)

    assert error.code == code
    assert got in error.got
    assert error.wanted
    assert error.next_step


def test_a_missing_message_id_is_asked_for_by_name() -> None:
    error = rejection({name: value for name, value in VIEW.items() if name != "message_id"})

    assert error.code == "missing_message_id"
    assert "message_id" in error.wanted


def test_every_event_that_needs_no_item_passes_without() -> None:
    bare = {**VIEW, "items": []}

    for name in ("search", "page_view", "identify", "view_cart", "begin_checkout", "view_promotion"):
        assert judge(bare | {"event": name}).event == name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("veiw_item", "view_item"), ("purchased", "purchase"), ("addToCart", "add_to_cart"), ("removed_cart", "remove")],
)
def test_a_typing_error_is_met_with_a_suggestion(typed: str, meant: str) -> None:
    assert (closest_name(typed) or "").replace("-", "_").startswith(meant)


def test_nonsense_is_met_with_no_suggestion() -> None:
    assert closest_name("qqqqxxzz") is None
    assert closest_name("") is None
    assert all(closest_name(name) == name for name in EVENT_NAMES)


def test_a_clock_that_runs_an_hour_ahead_is_corrected() -> None:
    wrong_ms = NOW_MS + 3_600_000

    event = judge(VIEW | {"timestamp": wrong_ms - 2_000, "sent_at": wrong_ms})

    assert event.time_ms == NOW_MS - 2_000
    assert event.client_time_ms == wrong_ms - 2_000


def test_the_time_of_sending_may_stand_on_the_batch() -> None:
    assert judge(VIEW | {"timestamp": NOW_MS - 9_000}, sent_at=NOW_MS - 5_000).time_ms == NOW_MS - 4_000


def test_an_event_a_little_ahead_counts_as_of_now() -> None:
    event = judge(VIEW | {"timestamp": NOW_MS + 1_000})

    assert (event.time_ms, event.client_time_ms) == (NOW_MS, NOW_MS + 1_000)


def test_without_a_timestamp_it_happened_now() -> None:
    assert judge(VIEW).time_ms == NOW_MS


def test_a_skew_that_leads_before_2000_is_no_time() -> None:
    assert rejection(VIEW | {"timestamp": NOW_MS, "sent_at": 9 * 10**13}, privileged=True).code == "time_too_old"


def test_history_passes_with_the_secret_key_and_is_marked() -> None:
    old = VIEW | {"timestamp": NOW_MS - 90_000_000}

    assert judge(old, privileged=True).late
    assert not judge(old, lateness_ms_max="unlimited").late
    assert not judge(VIEW | {"timestamp": NOW_MS - 1}, privileged=True).late


def test_what_is_kept_of_a_rejection_names_nobody() -> None:
    sent = VIEW | {"event": "vew", "user_id": "anna@example.org", "email": "anna@example.org", "session_id": 5}
    raw = msgspec.json.encode(sent)
    error = EventRejectedError("unknown_event", wanted="w", got="g", next_step="n")

    record = rejected_record(error, raw, secret=SECRET, rejected_at_ms=5, bytes_max=1_000)

    assert b"anna" not in msgspec.json.encode(record)
    assert b"browser-1" not in msgspec.json.encode(record)
    assert record.event == {
        "message_id": VIEW["message_id"],
        "event": "vew",
        "items": VIEW["items"],
        "session_id": 5,
        "visitor_key": visitor_key("browser-1", secret=SECRET).hex(),
        "user_key": visitor_key("anna@example.org", secret=SECRET).hex(),
    }


def test_of_a_large_rejection_only_the_names_are_kept() -> None:
    raw = msgspec.json.encode(VIEW | {"search_term": "x" * 2_000})
    error = EventRejectedError("event_too_large", wanted="w", got="g", next_step="n")

    record = rejected_record(error, raw, secret=SECRET, rejected_at_ms=5, bytes_max=500)

    assert record.event == {"message_id": VIEW["message_id"], "event": "view_item", "dropped_bytes": len(raw)}


def test_of_a_visitor_without_consent_not_even_a_rejection_is_kept() -> None:
    raw = msgspec.json.encode(VIEW | {"items": [], "consent": "none"})
    error = EventRejectedError("missing_item", wanted="w", got="g", next_step="n")

    assert rejected_record(error, raw, secret=SECRET, rejected_at_ms=5, bytes_max=500).event is None
