"""The newest rows of the newest sessions, in fixed memory; a session's number says its slot."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import State

NO_SESSION = -1


class SessionRing:
    """`sessions_max` slots of `items_max` rows; session `s` lives in slot `s % sessions_max` until another takes it.

    Attributes:
        rows: shape (sessions_max, items_max), each session's newest rows, oldest first.
        lengths: shape (sessions_max,), how many of them there are.
        numbers: shape (sessions_max,), whose slot it is, `NO_SESSION` when nobody's.
        times_ms: shape (sessions_max,), the session's newest event.
    """

    def __init__(self, *, sessions_max: int, items_max: int) -> None:
        if sessions_max < 1 or items_max < 2:
            raise ValueError(
                f"wanted sessions_max >= 1 and items_max >= 2; got {sessions_max} and {items_max}; raise the setting"
            )
        self.rows = np.zeros((sessions_max, items_max), np.int32)
        self.lengths = np.zeros(sessions_max, np.int32)
        self.numbers = np.full(sessions_max, NO_SESSION, np.int64)
        self.times_ms = np.zeros(sessions_max, np.int64)

    def session(self, number: int) -> NDArray[np.int32]:
        """The rows of session `number`, oldest first; empty when it is not held. A copy."""
        slot = number % len(self.numbers)
        if self.numbers[slot] != number:
            return np.empty(0, np.int32)
        return self.rows[slot, : self.lengths[slot]].copy()

    @property
    def nbytes(self) -> int:
        """What the ring takes, whatever it holds."""
        return self.rows.nbytes + self.lengths.nbytes + self.numbers.nbytes + self.times_ms.nbytes

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of the slots in use, and the sizes."""
        used = np.flatnonzero(self.numbers != NO_SESSION)
        return {
            "session_shape": np.array(self.rows.shape, np.int64),
            "session_rows": self.rows[used],
            "session_lengths": self.lengths[used],
            "session_numbers": self.numbers[used],
            "session_times_ms": self.times_ms[used],
        }

    def load(self, state: State) -> None:
        """Take over a `state()`."""
        sessions_max, items_max = (int(size) for size in state["session_shape"])
        self.__init__(sessions_max=sessions_max, items_max=items_max)  # type: ignore[misc]
        slots = state["session_numbers"] % sessions_max
        self.rows[slots] = state["session_rows"]
        self.lengths[slots] = state["session_lengths"]
        self.numbers[slots] = state["session_numbers"]
        self.times_ms[slots] = state["session_times_ms"]


@njit(cache=True, nogil=True)
def open_slot(numbers, lengths, session):  # type: ignore[no-untyped-def]
    """The slot of `session`, emptied when another session had it; -1 for a session older than the slot's."""
    slot = session % len(numbers)
    if numbers[slot] > session:
        return -1
    if numbers[slot] < session:
        numbers[slot] = session
        lengths[slot] = 0
    return slot


@njit(cache=True, nogil=True)
def append(rows, lengths, slot, row):  # type: ignore[no-untyped-def]
    """Put `row` at the end of the slot; the oldest row falls out of a full one."""
    items_max = rows.shape[1]
    length = lengths[slot]
    if length == items_max:
        for place in range(1, items_max):
            rows[slot, place - 1] = rows[slot, place]
        length -= 1
    rows[slot, length] = row
    lengths[slot] = length + 1
