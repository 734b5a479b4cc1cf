"""Which session an event belongs to, and whether its visitor may still teach: bounded memory of who is browsing."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from recommender.learner_allowance import Allowance
from recommender.models.protocol import State

_HOUR_MS = 3_600_000
_KEY_BYTES = 16
_ITEMS_A_DAY_MAX = 512
# So many times the hourly cap in one hour is no person any more.
_BOT_FACTOR = 4

_forgotten = Counter(
    "afterclick_recommender_visitors_forgotten_total", "Open sessions dropped because the learner held too many"
)
_capped = Counter(
    "afterclick_recommender_events_capped_total",
    "Events left out because their visitor had taught enough: of all items that hour, or of this one that day",
    ["cap"],
)
_muted = Counter("afterclick_recommender_visitors_muted_total", "Visitors taken for bots and not listened to that day")


class Admitted(NamedTuple):
    """An event that may teach: its session, and what `learner_allowance.Say` says of it."""

    session: int
    gain: int
    first: bool


class _Visitor:
    """The open session of one browser; slots, for there are a hundred thousand of them."""

    __slots__ = ("allowance", "hour", "muted", "newest_ms", "session", "taught")

    def __init__(self, session: int, newest_ms: int, hour: int, taught: int, muted: int, allowance: Allowance) -> None:
        self.session = session
        self.newest_ms = newest_ms
        self.hour = hour
        self.taught = taught
        self.muted = muted
        self.allowance = allowance


class Sessionizer:
    """Numbers sessions in the order of their first events; a pause of `idle_ms` (of event time) begins a new one.

    Args:
        visitors_max: held at once; the one silent longest is forgotten, and is a new session when it comes back.
        idle_ms: the pause.
        hourly_max: events a visitor may teach in one hour of event time. Who sends four times as many is taken for a
            bot and teaches nothing more that day.

    A visitor's hours and days only go on: whoever makes up times of earlier hours gets no new allowance for them.
    """

    def __init__(self, *, visitors_max: int, idle_ms: int, hourly_max: int) -> None:
        self._visitors_max = visitors_max
        self._idle_ms = idle_ms
        self._hourly_max = hourly_max
        self._visitors: dict[bytes, _Visitor] = {}
        self._next_session = 0

    def __len__(self) -> int:
        return len(self._visitors)

    def admit(self, visitor_key: bytes, row: int, kind: int, time_ms: int) -> Admitted | None:
        """The session of an event on `row` at `time_ms`; None when the visitor has taught enough."""
        visitor = self._visitor(visitor_key, time_ms)
        visitor.taught += 1
        if visitor.muted or visitor.taught > self._hourly_max:
            _capped.labels("visitor").inc()
            if not visitor.muted and visitor.taught > _BOT_FACTOR * self._hourly_max:
                visitor.muted = 1
                _muted.inc()
            return None
        said = visitor.allowance.say(row, kind)
        if said is None:
            _capped.labels("item").inc()
            return None
        return Admitted(visitor.session, said.gain, said.first)

    def forget(self, visitor_key: bytes) -> None:
        """Who was erased has no session any more; what they taught says of nobody that it was them."""
        self._visitors.pop(visitor_key, None)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everybody held, longest silent first."""
        held = list(self._visitors.values())
        keys = b"".join(key.ljust(_KEY_BYTES, b"\0")[:_KEY_BYTES] for key in self._visitors)
        numbers = [(v.session, v.newest_ms, v.hour, v.taught, v.muted) for v in held]
        packed = [v.allowance.packed() for v in held]
        return {
            "keys": np.frombuffer(keys, np.uint8).reshape(len(held), _KEY_BYTES),
            "numbers": np.array(numbers, np.int64).reshape(len(held), 5),
            "items": np.frombuffer(b"".join(map(bytes, packed)), np.int64),
            "item_counts": np.array([len(each) for each in packed], np.int64),
            "next_session": np.array([self._next_session], np.int64),
        }

    def load(self, state: State) -> None:
        """Take over a `state()`; one written before allowances were kept has none."""
        keys = np.ascontiguousarray(state["keys"]).tobytes()
        held = len(state["numbers"])
        numbers = np.zeros((held, 5), np.int64)
        numbers[:, : state["numbers"].shape[1]] = state["numbers"]
        items = state.get("items", np.empty(0, np.int64)).tolist()
        ends = np.cumsum(state.get("item_counts", np.zeros(held, np.int64))).tolist()
        begins = [0, *ends[:-1]]
        self._visitors = {}
        for place, (session, newest_ms, hour, taught, muted) in enumerate(numbers.tolist()):
            allowance = Allowance(_ITEMS_A_DAY_MAX, items[begins[place] : ends[place]])
            key = keys[place * _KEY_BYTES : (place + 1) * _KEY_BYTES]
            self._visitors[key] = _Visitor(session, newest_ms, hour, taught, muted, allowance)
        self._next_session = int(state["next_session"][0])

    def _visitor(self, visitor_key: bytes, time_ms: int) -> _Visitor:
        """Who it is, their session and hour being those of an event at `time_ms`."""
        # Taken out and put back at the end: the dict's order is the order of last being seen.
        visitor = self._visitors.pop(visitor_key, None)
        hour = time_ms // _HOUR_MS
        if visitor is None:
            self._make_room()
            visitor = _Visitor(self._new_session(), time_ms, hour, 0, 0, Allowance(_ITEMS_A_DAY_MAX))
        self._visitors[visitor_key] = visitor
        # An event far in the past (history sent late) belongs to the session at hand as little as one far ahead.
        if abs(time_ms - visitor.newest_ms) > self._idle_ms:
            visitor.session = self._new_session()
        visitor.newest_ms = max(visitor.newest_ms, time_ms)
        if hour > visitor.hour:
            if hour // 24 > visitor.hour // 24:
                visitor.muted, visitor.allowance = 0, Allowance(_ITEMS_A_DAY_MAX)
            visitor.hour, visitor.taught = hour, 0
        return visitor

    def _new_session(self) -> int:
        number = self._next_session
        self._next_session += 1
        return number

    def _make_room(self) -> None:
        if len(self._visitors) >= self._visitors_max:
            del self._visitors[next(iter(self._visitors))]
            _forgotten.inc()
