"""Which session an event belongs to, and whether its visitor may still teach: bounded memory of who is browsing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.models.protocol import State

_HOUR_MS = 3_600_000
_KEY_BYTES = 16

_forgotten = Counter(
    "afterclick_recommender_visitors_forgotten_total", "Open sessions dropped because the learner held too many"
)
_capped = Counter(
    "afterclick_recommender_events_capped_total", "Events left out because their visitor had taught enough that hour"
)


class _Visitor:
    """The open session of one browser; slots, for there are a hundred thousand of them."""

    __slots__ = ("hour", "newest_ms", "session", "taught")

    def __init__(self, session: int, newest_ms: int, hour: int, taught: int) -> None:
        self.session = session
        self.newest_ms = newest_ms
        self.hour = hour
        self.taught = taught


class Sessionizer:
    """Numbers sessions in the order of their first events; a pause of `idle_ms` (of event time) begins a new one.

    Args:
        visitors_max: held at once; the one silent longest is forgotten, and is a new session when it comes back.
        idle_ms: the pause.
        hourly_max: events a visitor may teach in one hour of event time, so that no bot outweighs the crowd.
    """

    def __init__(self, *, visitors_max: int, idle_ms: int, hourly_max: int) -> None:
        self._visitors_max = visitors_max
        self._idle_ms = idle_ms
        self._hourly_max = hourly_max
        self._visitors: dict[bytes, _Visitor] = {}
        self._next_session = 0

    def __len__(self) -> int:
        return len(self._visitors)

    def session(self, visitor_key: bytes, time_ms: int) -> int | None:
        """The session of an event at `time_ms`; None when the visitor has taught enough this hour."""
        # Taken out and put back at the end: the dict's order is the order of last being seen.
        visitor = self._visitors.pop(visitor_key, None)
        hour = time_ms // _HOUR_MS
        if visitor is None:
            self._make_room()
            visitor = _Visitor(self._new_session(), time_ms, hour, 0)
        self._visitors[visitor_key] = visitor
        # An event far in the past (history sent late) belongs to the session at hand as little as one far ahead.
        if abs(time_ms - visitor.newest_ms) > self._idle_ms:
            visitor.session = self._new_session()
            visitor.newest_ms = time_ms
        if hour != visitor.hour:
            visitor.hour, visitor.taught = hour, 0
        visitor.newest_ms = max(visitor.newest_ms, time_ms)
        visitor.taught += 1
        if visitor.taught > self._hourly_max:
            _capped.inc()
            return None
        return visitor.session

    def forget(self, visitor_key: bytes) -> None:
        """Who was erased has no session any more; what they taught says of nobody that it was them."""
        self._visitors.pop(visitor_key, None)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everybody held, longest silent first."""
        held = self._visitors
        keys = b"".join(key.ljust(_KEY_BYTES, b"\0")[:_KEY_BYTES] for key in held)
        return {
            "keys": np.frombuffer(keys, np.uint8).reshape(len(held), _KEY_BYTES),
            "numbers": np.array([(v.session, v.newest_ms, v.hour, v.taught) for v in held.values()], np.int64).reshape(
                len(held), 4
            ),
            "next_session": np.array([self._next_session], np.int64),
        }

    def load(self, state: State) -> None:
        """Take over a `state()`."""
        keys = np.ascontiguousarray(state["keys"]).tobytes()
        self._visitors = {
            keys[place * _KEY_BYTES : (place + 1) * _KEY_BYTES]: _Visitor(*numbers)
            for place, numbers in enumerate(state["numbers"].tolist())
        }
        self._next_session = int(state["next_session"][0])

    def _new_session(self) -> int:
        number = self._next_session
        self._next_session += 1
        return number

    def _make_room(self) -> None:
        if len(self._visitors) >= self._visitors_max:
            del self._visitors[next(iter(self._visitors))]
            _forgotten.inc()
