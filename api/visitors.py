"""Read what a visitor did, by their raw id, within what is left of a request's budget."""

from typing import NamedTuple

from api.budget import Admission, Deadline, StoreGuard
from ingest.identity import visitor_key
from recommender.history import History


class Known(NamedTuple):
    """`answered`: the store did; else the history is empty for want of it."""

    key: bytes
    history: History
    answered: bool


class Visitors:
    """Turns raw ids into keys, and keys into histories.

    Args:
        secret: keys the hash; the raw id goes no further.
        store_ms_max, store_share: how long the store may be waited for, at most and of the time left.
    """

    def __init__(
        self, guard: StoreGuard, admission: Admission, *, secret: bytes, store_ms_max: int, store_share: float
    ) -> None:
        self._guard = guard
        self._secret = secret
        self._store_ms_max = store_ms_max
        self._store_share = store_share
        self.admission = admission

    def key(self, visitor: str) -> bytes:
        """What stands for the raw id."""
        return visitor_key(visitor, secret=self._secret)

    async def history(self, key: bytes, *, within_ms: float) -> tuple[History, bool]:
        """Of a key, not a raw id; empty and False when the store did not give it in time."""
        return await self._guard.history(key, within_ms=within_ms)

    async def read(self, visitor: str, deadline: Deadline, budget_ms: int) -> Known:
        """Their key and history. Call it within `admission`.

        Raises:
            OverloadedError: the budget went by in the queue.
        """
        left_ms = deadline.left_ms()
        if left_ms <= 0:
            raise self.admission.refusal("budget_spent", f"a budget of {budget_ms} ms spent in the queue")
        key = self.key(visitor)
        history, answered = await self._guard.history(
            key, within_ms=min(self._store_ms_max, left_ms * self._store_share)
        )
        return Known(key, history, answered)
