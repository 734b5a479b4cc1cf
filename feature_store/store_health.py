"""What the online store says of itself, every few seconds: memory, and records whose time to live ran out."""

from typing import Final

from prometheus_client import Gauge

from feature_store.online_store import OnlineStore

ASK_EVERY_MS: Final = 10_000

_EXPIRED = Gauge(
    "afterclick_feature_store_expired_records",
    "Records let go because nobody touched them for their time to live, since the store's nodes started",
    multiprocess_mode="mostrecent",
)
_MEMORY = Gauge("afterclick_feature_store_memory_bytes", "Memory the store's nodes use", multiprocess_mode="mostrecent")


class StoreHealth:
    """Keeps the gauges; ask it as often as you like."""

    def __init__(self) -> None:
        self._asked_at_ms = 0

    async def note(self, store: OnlineStore, *, now_ms: int) -> None:
        """Ask every node, unless that was done in the last ten seconds.

        Raises:
            StoreUnavailableError: one does not answer.
        """
        if now_ms - self._asked_at_ms < ASK_EVERY_MS:
            return
        self._asked_at_ms = now_ms
        _EXPIRED.set(sum([_number(info, "expired_keys") for info in await store.ask_every_node("INFO", "stats")]))
        _MEMORY.set(sum([_number(info, "used_memory") for info in await store.ask_every_node("INFO", "memory")]))


def _number(info: bytes, name: str) -> int:
    for line in info.decode().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value)
    return 0
