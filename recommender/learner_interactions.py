"""The newest events a refit learns from, in bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.models.protocol import Events, State, grown

_FIELDS = {"sessions": np.int64, "rows": np.int32, "kinds": np.uint8, "times_ms": np.int64}


class Interactions:
    """A ring of events, 21 bytes each, that grows to `events_max` and then overwrites its oldest."""

    def __init__(self, events_max: int) -> None:
        self._events_max = events_max
        self._arrays: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _FIELDS.items()}
        self.total = 0
        """Events ever appended; those before `total - len(self)` are overwritten."""

    def __len__(self) -> int:
        return min(self.total, self._events_max)

    @property
    def oldest_ms(self) -> int:
        """Time of the oldest event held; 0 when there is none."""
        if self.total == 0:
            return 0
        return int(self._arrays["times_ms"][(self.total - len(self)) % self._events_max])

    def append(self, events: Events) -> None:
        """Add events in order."""
        count = len(events.rows)
        if count == 0:
            return
        room = min(self.total + count, self._events_max)
        places = (self.total + np.arange(count)) % self._events_max
        for name, values in zip(_FIELDS, events, strict=True):
            array = grown(self._arrays[name], room)
            self._arrays[name] = array
            # numpy keeps the last of repeated places, and a batch longer than the ring repeats them in order.
            array[places] = values
        self.total += count

    def events(self, *, since: int = 0) -> Events:
        """Those held from the `since`-th ever on, oldest first; a copy."""
        begin = max(since, self.total - len(self))
        places = np.arange(begin, self.total) % self._events_max
        return Events(*(self._arrays[name][places] for name in _FIELDS))

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is held, and the total."""
        return {**self.events()._asdict(), "total": np.array([self.total], np.int64)}

    def load(self, state: State) -> None:
        """Take over a `state()`, the newest of it where this ring is smaller."""
        self.__init__(self._events_max)  # type: ignore[misc]
        self.total = int(state["total"][0]) - len(state["rows"])
        self.append(Events(*(state[name] for name in _FIELDS)))
