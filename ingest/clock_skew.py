"""Event time from a clock that cannot be trusted: `received_at − (sent_at − timestamp)`, as Snowplow and PostHog do."""

from datetime import datetime

from ingest.errors import EventRejectedError
from ingest.events import TIMESTAMP_MS_FLOOR

_SECONDS_MAX = 10**11
"""A number below this that cannot be milliseconds since 2000 is a time in seconds up to the year 5138."""
_MILLISECONDS_MAX = 10**14


def unix_ms(value: int | datetime, *, field: str) -> int:
    """A sender's time as Unix milliseconds.

    Raises:
        EventRejectedError: seconds, microseconds, a time before 2000, or one without its time zone.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise EventRejectedError(
                "time_without_zone",
                wanted=f"{field} with a time zone, as RFC 3339 has it",
                got=value.isoformat(),
                next_step=f"append Z for UTC: {value.isoformat()}Z",
            )
        value = int(value.timestamp() * 1000)
    if TIMESTAMP_MS_FLOOR <= value < _MILLISECONDS_MAX:
        return value
    raise _not_milliseconds(value, field)


def event_time_ms(
    timestamp: int | datetime | None, sent_at: int | datetime | None, *, received_at_ms: int, future_ms_max: int
) -> tuple[int, int | None]:
    """When it happened by our clock, and what the sender's clock said (None where it said nothing).

    A time ahead of ours by up to `future_ms_max` becomes `received_at_ms`: nothing happens after it was received, and
    an event from the future would be invisible to windows that end now.

    Raises:
        EventRejectedError: a time that is not Unix milliseconds, or too far ahead.
    """
    if timestamp is None:
        return received_at_ms, None
    client_ms = unix_ms(timestamp, field="timestamp")
    skew_ms = 0 if sent_at is None else received_at_ms - unix_ms(sent_at, field="sent_at")
    time_ms = client_ms + skew_ms
    if time_ms < TIMESTAMP_MS_FLOOR:
        raise EventRejectedError(
            "time_too_old",
            wanted="sent_at and timestamp by the same clock, in 2000 or later once corrected",
            got=f"timestamp {client_ms}, {-skew_ms} ms ahead of ours at sending",
            next_step="read both from the same clock: in a browser, Date.now()",
        )
    if time_ms <= received_at_ms:
        return time_ms, client_ms
    if time_ms - received_at_ms > future_ms_max:
        raise EventRejectedError(
            "future_time",
            wanted=f"a timestamp at most {future_ms_max} ms ahead of the time of sending",
            got=f"{time_ms - received_at_ms} ms ahead",
            next_step="send sent_at with the batch, by the same clock as timestamp; the difference is then corrected",
        )
    return received_at_ms, client_ms


def _not_milliseconds(value: int, field: str) -> EventRejectedError:
    wanted = f"{field} in Unix milliseconds or RFC 3339, in 2000 or later"
    if TIMESTAMP_MS_FLOOR // 1000 <= value < _SECONDS_MAX:
        return EventRejectedError(
            "seconds_not_milliseconds",
            wanted=wanted,
            got=f"{value}, which is a time in seconds",
            next_step=f"multiply by 1000: {value * 1000}",
        )
    if value >= _MILLISECONDS_MAX:
        return EventRejectedError(
            "not_milliseconds",
            wanted=wanted,
            got=f"{str(value)[:32]}, too large for milliseconds",
            next_step="divide microseconds by 1000, nanoseconds by 1000000",
        )
    return EventRejectedError(
        "time_too_old", wanted=wanted, got=str(value)[:32], next_step="check the clock and the unit of the sender"
    )
