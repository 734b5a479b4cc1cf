"""When each row of a file is due, and which time it is stamped with."""

from collections.abc import Callable

from loadtest.settings import Times

Stamp = Callable[[int], int | None]
"""The file's time (Unix ms) to the time sent; None: the server's clock decides when it arrives."""


def due_s(time_ms: int, *, first_ms: int, speed: float) -> float:
    """Seconds after the start of the replay at which a row is due: the file's gaps, divided by `speed` (> 0)."""
    return (time_ms - first_ms) / 1000.0 / speed


def stamp_of(times: Times, *, speed: float | None, first_ms: int, last_ms: int, start_ms: int) -> Stamp:
    """How rows are stamped. `speed` None: as fast as possible.

    At a numeric speed `scaled` stamps a row with the moment it is due. At the greatest speed nothing is known of the
    end but that it is near, so the file's own gaps are kept and its last row becomes `start_ms`.
    """
    if times == "arrival":
        return lambda _time_ms: None
    if times == "kept":
        return lambda time_ms: time_ms
    if speed is None:
        return lambda time_ms: time_ms + (start_ms - last_ms)
    return lambda time_ms: start_ms + round((time_ms - first_ms) / speed)
