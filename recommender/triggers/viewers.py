"""Who looked at an item lately: a bounded list an item, of those who consented."""

from collections.abc import Iterable
from hashlib import blake2b

from feature_store.online_store import OnlineStore
from feature_store.valkey_connection import Command
from ingest.events import Event

_COMMANDS_MAX = 3_000


class Viewers:
    """A sorted set an item in the online store, by time; the same events twice change nothing."""

    def __init__(self, store: OnlineStore, *, viewers_max: int, viewers_ms: int) -> None:
        self._store = store
        self._viewers_max = viewers_max
        self._viewers_ms = viewers_ms

    async def note(self, events: Iterable[Event]) -> None:
        """Remember who looked, forget who bought.

        Raises:
            StoreUnavailableError: the store does not answer; note the same events again.
        """
        commands: list[Command] = []
        for event in events:
            if event.event not in {"view_item", "purchase"} or event.late:
                continue
            visitor = bytes.fromhex(event.visitor_key)
            for item in event.items:
                key = _key(item.item_id)
                if event.event == "purchase":
                    commands.append(("ZREM", key, visitor))
                elif event.consent == "full":
                    commands += [
                        ("ZADD", key, "GT", event.time_ms, visitor),
                        ("ZREMRANGEBYRANK", key, 0, -self._viewers_max - 1),
                        ("PEXPIRE", key, self._viewers_ms),
                    ]
        for start in range(0, len(commands), _COMMANDS_MAX):
            await self._store.send(commands[start : start + _COMMANDS_MAX])

    async def latest(self, item_id: str, *, now_ms: int) -> list[bytes]:
        """Visitors' keys, the latest first, at most `viewers_max`."""
        since = now_ms - self._viewers_ms
        [found] = await self._store.send(
            [("ZRANGE", _key(item_id), "+inf", since, "BYSCORE", "REV", "LIMIT", 0, self._viewers_max)]
        )
        return list(found)


def _key(item_id: str) -> bytes:
    return b"w:" + blake2b(item_id.encode(), digest_size=12).digest()
