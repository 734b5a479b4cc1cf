"""A model's version is the time it was made at, as text that sorts by time."""

import calendar
import functools
import time


def version_at(now_ms: int, *, after: str | None) -> str:
    """A version made now: names sort by time, and after the version that was, whatever the clock did."""
    if after is not None:
        now_ms = max(now_ms, version_time_ms(after) + 1)
    seconds, ms = divmod(now_ms, 1000)
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds)) + f".{ms:03d}Z"


@functools.lru_cache(maxsize=64)
def version_time_ms(version: str) -> int:
    """Unix milliseconds; 0 for what is no version."""
    try:
        return calendar.timegm(time.strptime(version[:15], "%Y%m%dT%H%M%S")) * 1000 + int(version[16:19])
    except ValueError:
        return 0
