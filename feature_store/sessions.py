"""The visit a visitor is in: the events up to now without a pause of half an hour."""

from typing import Final, NamedTuple

import numpy as np

from feature_store.visitor_record import VisitorRecord

IDLE_MS: Final = 1_800_000
"""A pause of this length ends a session, as in GA4 and Snowplow."""


class Session(NamedTuple):
    """A visit under way.

    Attributes:
        start_ms, last_ms: time of its first and of its newest event.
        depth: how many deliberate events it has.
        at_least: it may have begun before the oldest event that is kept; depth and length are at least these.
    """

    start_ms: int
    last_ms: int
    depth: int
    at_least: bool

    @property
    def length_ms(self) -> int:
        """From its first to its newest event."""
        return self.last_ms - self.start_ms


def session_at(record: VisitorRecord, *, now_ms: int) -> Session | None:
    """The session at `now_ms`; None when the newest event is half an hour old or more, or there is none.

    Computed from the events' times alone, so that it does not depend on their arrival nor on the sender's session ids.
    """
    times_ms = record.time_ms[: int(np.searchsorted(record.time_ms, now_ms, side="right"))]
    if len(times_ms) == 0 or now_ms - times_ms[-1] >= IDLE_MS:
        return None
    pauses = np.flatnonzero(np.diff(times_ms) >= IDLE_MS)
    first = int(pauses[-1]) + 1 if len(pauses) else 0
    at_least = first == 0 and record.let_go is not None and _joins(record, int(times_ms[0]))
    return Session(int(times_ms[first]), int(times_ms[-1]), len(times_ms) - first, at_least)


def _joins(record: VisitorRecord, oldest_ms: int) -> bool:
    """Was an event let go less than a pause before the oldest one kept?"""
    return record.let_go is not None and oldest_ms - int(record.let_go.last_ms.max()) < IDLE_MS
