"""What suggestions earned, from the archive, for whoever looks at the shop's figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import msgspec

from api.errors import InvalidParameterError, UnavailableError
from recommender.archive_counting import CountFailedError
from recommender.earned import By, Earned

DAYS_DEFAULT = 7
DAYS_MAX = 366
_DAY_MS = 86_400_000

TimeMs = Annotated[int, msgspec.Meta(ge=0, le=1 << 47)]

CountEarned = Callable[[By, int, int], Awaitable[Sequence[Earned]]]
"""`count(by, from_ms, until_ms)`, from the archive; raises CountFailedError."""


class EarningsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to tell apart, and of when: without times the last seven days."""

    by: By = "placement"
    from_ms: TimeMs | None = None
    until_ms: TimeMs | None = None


class EarningsAnswer(msgspec.Struct, frozen=True):
    """The groups, the one that earned most first."""

    by: By
    from_ms: int
    until_ms: int
    groups: tuple[Earned, ...]


class Earnings:
    """One count at a time."""

    def __init__(self, count: CountEarned, *, retry_after_s: int) -> None:
        self._count = count
        self._retry_after_s = retry_after_s
        self._alone = asyncio.Lock()

    async def look(self, query: EarningsQuery) -> EarningsAnswer:
        """The answer.

        Raises:
            InvalidParameterError: a time that ends before it begins, or more than a year.
            UnavailableError: the archive cannot be counted now.
        """
        until_ms = query.until_ms if query.until_ms is not None else time.time_ns() // 1_000_000 + 1
        from_ms = query.from_ms if query.from_ms is not None else until_ms - DAYS_DEFAULT * _DAY_MS
        if not from_ms < until_ms <= from_ms + DAYS_MAX * _DAY_MS:
            raise InvalidParameterError(
                "invalid_parameter",
                wanted=f"`from_ms` before `until_ms`, at most {DAYS_MAX} days apart",
                got=f"{from_ms} and {until_ms}",
                next_step="correct it and ask again",
            )
        async with self._alone:
            try:
                groups = await self._count(query.by, from_ms, until_ms)
            except CountFailedError as error:
                raise UnavailableError(
                    "archive_unavailable",
                    wanted="an archive that can be counted",
                    got=str(error),
                    next_step="look at the archive's log; ask again after Retry-After",
                    retry_after_s=self._retry_after_s,
                ) from error
        return EarningsAnswer(query.by, from_ms, until_ms, tuple(groups))
