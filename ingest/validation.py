"""Turn one event as sent into one event as kept, or say why not."""

from datetime import datetime

import msgspec

from ingest.attribution import Attributor
from ingest.clock_skew import event_time_ms
from ingest.errors import EventRejectedError
from ingest.event_names import closest_name
from ingest.events import EVENT_NAMES, NEEDS_ITEMS, Attribution, Event, SentEvent, canonical_name
from ingest.identity import visitor_key
from ingest.settings import CollectorSettings
from ingest.wire import mend_text


class Circumstances(msgspec.Struct, frozen=True, gc=False):
    """What holds for every event of one request. `privileged`: it came with the secret key; without an `attributor` no
    `recommendation_id` counts."""

    received_at_ms: int
    privileged: bool
    sent_at: int | datetime | None
    secret: bytes
    settings: CollectorSettings
    attributor: Attributor | None = None


def decode_sent(raw: bytes | msgspec.Raw, *, bytes_max: int) -> SentEvent:
    """Decode one event of a request.

    Raises:
        EventRejectedError: larger than `bytes_max`.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not an event; `explain_decoding` says why.
    """
    size = len(memoryview(raw))
    if size > bytes_max:
        raise EventRejectedError(
            "event_too_large",
            wanted=f"at most {bytes_max} bytes an event",
            got=f"{size} bytes",
            next_step="leave out what the event vocabulary has no field for",
        )
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decoder.decode(mend_text(bytes(raw)))


def accept_event(sent: SentEvent, given: Circumstances) -> Event:
    """The event as it goes onto the topic.

    Raises:
        EventRejectedError: it may not pass; says what was wanted, what came, and the next step.
    """
    name = canonical_name(sent.event)
    if name is None:
        raise _unknown_event(sent.event)
    if not sent.items and name in NEEDS_ITEMS:
        raise EventRejectedError(
            "missing_item",
            wanted=f"at least one item in items of {name}",
            got="none",
            next_step='add "items": [{"item_id": "..."}]',
        )
    visitor = sent.anonymous_id or sent.user_id
    if visitor is None:
        raise EventRejectedError(
            "missing_visitor",
            wanted="anonymous_id or user_id",
            got="neither",
            next_step="send the browser's anonymous_id; from a server, the user_id",
        )
    time_ms, client_time_ms = event_time_ms(
        sent.timestamp,
        sent.sent_at if sent.sent_at is not None else given.sent_at,
        received_at_ms=given.received_at_ms,
        future_ms_max=given.settings.future_ms_max,
    )
    secret = given.secret
    key = visitor_key(visitor, secret=secret)
    return Event(
        message_id=sent.message_id,
        event=name,
        visitor_key=key.hex(),
        time_ms=time_ms,
        received_at_ms=given.received_at_ms,
        items=sent.items,
        user_key=visitor_key(sent.user_id, secret=secret).hex() if sent.user_id else None,
        client_time_ms=client_time_ms,
        session_id=sent.session_id,
        page_view_id=sent.page_view_id,
        value=sent.value,
        currency=sent.currency,
        cart_id=sent.cart_id,
        search_term=sent.search_term,
        recommendation_id=sent.recommendation_id,
        placement=sent.placement,
        consent=sent.consent,
        late=_is_late(time_ms, given),
        attribution=_attribution(sent, key, time_ms, given),
    )


def users_copy(event: Event) -> Event | None:
    """The second event that an `identify` becomes, under the user's key, so that their record learns of the browser.

    It has a `message_id` of its own: both may lie in one partition, where a repeated one is dropped.
    """
    if event.event != "identify" or event.user_key is None or event.user_key == event.visitor_key:
        return None
    return msgspec.structs.replace(
        event,
        message_id=f"{event.message_id}~user",
        visitor_key=event.user_key,
        browser_key=event.visitor_key,
    )


_decoder = msgspec.json.Decoder(SentEvent)


def _attribution(sent: SentEvent, key: bytes, time_ms: int, given: Circumstances) -> Attribution | None:
    if sent.recommendation_id is None or given.attributor is None or not sent.items:
        return None
    return given.attributor.attribute(sent.recommendation_id, sent.items, visitor_key=key, time_ms=time_ms)


def _is_late(time_ms: int, given: Circumstances) -> bool:
    lateness_ms_max = given.settings.lateness_ms_max
    if lateness_ms_max == "unlimited" or given.received_at_ms - time_ms <= lateness_ms_max:
        return False
    if given.privileged:
        return True
    raise EventRejectedError(
        "late_event",
        wanted=f"an event at most {lateness_ms_max} ms old",
        got=f"{given.received_at_ms - time_ms} ms old",
        next_step="send history with the secret key: it trains the models and moves no live window",
    )


def _unknown_event(name: str) -> EventRejectedError:
    closest = closest_name(name)
    return EventRejectedError(
        "unknown_event",
        wanted=f"one of {', '.join(EVENT_NAMES)}, or another system's name for it",
        got=name[:64],
        next_step=f"did you mean {closest}?" if closest else "see docs/events.md for every name",
    )
