"""What was told already: at most one engagement a visitor, item, reason and day, whatever crashes in between."""

from collections.abc import Sequence

from feature_store.online_store import OnlineStore

_DONE = b"done"


class Claims:
    """Kept in the online store, so that any number of processes agree.

    A claim is taken for a cause (the message that is being worked on), the engagement published, the claim marked done.
    Killed between the last two, the same cause comes again, finds its own claim and publishes again under the same id,
    which is how a receiver knows; another cause never takes it over.
    """

    def __init__(self, store: OnlineStore, *, once_ms: int) -> None:
        self._store = store
        self._once_ms = once_ms

    async def take(self, ids: Sequence[str], *, cause: bytes) -> list[bool]:
        """Which of `ids` are for `cause` to publish.

        Raises:
            StoreUnavailableError: the store does not answer; nothing may be published.
        """
        if not ids:
            return []
        made = [("SET", _key(name), cause, "NX", "PX", self._once_ms) for name in ids]
        looks = [("GET", _key(name)) for name in ids]
        replies = await self._store.send([*made, *looks])
        return [value == cause for value in replies[len(ids) :]]

    async def done(self, ids: Sequence[str]) -> None:
        """They are on the bus."""
        if ids:
            await self._store.send([("SET", _key(name), _DONE, "XX", "KEEPTTL") for name in ids])


def _key(name: str) -> bytes:
    return b"e:" + bytes.fromhex(name)
