"""Find an answer again by its id: in this process's memory, else on the topic `answers`."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

import msgspec
from prometheus_client import Counter

from api.answers import ServedAnswer
from api.errors import NotFoundError, UnavailableError
from ingest.bus.contract import Bus, Delivery, partition_of
from ingest.errors import BusError
from ingest.topics import ANSWERS

# Clocks of this machine and the bus may differ, and an answer waits to be packed.
_BEFORE_MS = 2_000
_AFTER_MS = 10_000
_AGAIN_S = 0.02

_FOUND = Counter("afterclick_api_answers_found_total", "Answers looked up by id, by where", ["where"])
_decoder = msgspec.json.Decoder(ServedAnswer)


class ServedAnswers:
    """The newest `answers_max` answers of this process; all others of the topic's retention are read from the bus.

    Args:
        served_ms: when the answer with an id was made; None for what is no id of ours.
    """

    def __init__(
        self, bus: Bus, served_ms: Callable[[str], int | None], *, answers_max: int, retry_after_s: int
    ) -> None:
        self._bus = bus
        self._served_ms = served_ms
        self._answers_max = answers_max
        self._retry_after_s = retry_after_s
        self._newest: OrderedDict[str, ServedAnswer] = OrderedDict()

    def remember(self, answer: ServedAnswer) -> None:
        """Take one answer; the oldest goes."""
        self._newest[answer.recommendation_id] = answer
        if len(self._newest) > self._answers_max:
            self._newest.popitem(last=False)

    def latest(self, placement: str, n: int) -> list[ServedAnswer]:
        """The newest answers of this process at a placement, the newest first, one for each visitor."""
        found: dict[str, ServedAnswer] = {}
        for answer in reversed(self._newest.values()):
            if len(found) >= n:
                break
            if answer.placement == placement and answer.item_ids:
                found.setdefault(answer.visitor_key, answer)
        return list(found.values())

    async def find(self, recommendation_id: str, *, visitor_key: bytes | None, within_s: float) -> ServedAnswer:
        """The answer of that id; with `visitor_key` only if it was theirs.

        Raises:
            NotFoundError: no such answer (for this visitor) within the topic's retention.
            UnavailableError: the bus did not answer in time.
        """
        answer = self._newest.get(recommendation_id)
        where = "memory"
        if answer is None:
            where = "bus"
            answer = await self._read(recommendation_id, visitor_key, within_s)
        if answer is None or (visitor_key is not None and answer.visitor_key != visitor_key.hex()):
            _FOUND.labels("nowhere").inc()
            raise _not_found(recommendation_id)
        _FOUND.labels(where).inc()
        return answer

    async def _read(self, recommendation_id: str, key: bytes | None, within_s: float) -> ServedAnswer | None:
        made_ms = self._served_ms(recommendation_id)
        if made_ms is None or made_ms > time.time_ns() // 1_000_000 + _AFTER_MS:
            return None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = await self._search(recommendation_id, made_ms, key)
                    if found is not None or not _is_fresh(made_ms):
                        return found
                    # Another process may be about to pack it.
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            if _is_fresh(made_ms) and await self._bus.alive():
                return None
            raise self._unavailable(f"no word within {within_s:.3f} s") from None
        except BusError as error:
            raise self._unavailable(str(error)) from error

    async def _search(self, recommendation_id: str, made_ms: int, key: bytes | None) -> ServedAnswer | None:
        partitions = await self._bus.partitions(ANSWERS)
        wanted = recommendation_id.encode()
        for partition in range(partitions) if key is None else [partition_of(key, partitions)]:
            reading = self._bus.read(ANSWERS, partition, start=made_ms - _BEFORE_MS, until_now=True)
            async with aclosing(cast("AsyncGenerator[Delivery, None]", reading)) as deliveries:
                async for delivery in deliveries:
                    for entry in delivery.entries:
                        if entry.payload is not None and wanted in entry.payload:
                            answer = _decoder.decode(entry.payload)
                            if answer.recommendation_id == recommendation_id:
                                return answer
                    if delivery.accepted_at_ms > made_ms + _AFTER_MS:
                        break
        return None

    def _unavailable(self, got: str) -> UnavailableError:
        return UnavailableError(
            "bus_unavailable",
            wanted="a bus that remembers what was served",
            got=got,
            next_step="ask again after Retry-After, or for fresh recommendations",
            retry_after_s=self._retry_after_s,
        )


def _is_fresh(made_ms: int) -> bool:
    return time.time_ns() // 1_000_000 - made_ms < _AFTER_MS


def _not_found(recommendation_id: str) -> NotFoundError:
    return NotFoundError(
        "unknown_recommendation",
        wanted="the recommendation_id of an answer to this visitor, at most 30 days old",
        got=recommendation_id[:160],
        next_step="ask for fresh recommendations; an answer is lost when the server is killed within 0.1 s of it",
    )
