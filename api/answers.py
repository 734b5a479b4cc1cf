"""Log what was served to the topic `answers`, packed, without ever delaying an answer."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from ingest.bus.contract import Bus, Record
from ingest.errors import BusError
from ingest.topics import ANSWERS
from recommender.kept_answer import KeptAnswer
from recommender.requests import Exploration

_LOGGED = Counter("afterclick_api_answers_logged_total", "Answers durably on the topic `answers`")
_DROPPED = Counter("afterclick_api_answers_dropped_total", "Answers not logged because too many waited for the bus")
_PENDING = Gauge("afterclick_api_answers_pending", "Answers waiting to be logged", multiprocess_mode="livesum")
_PACK_MAX = 1_000
_RETRY_S = 0.5

log = structlog.get_logger()


class ServedAnswer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One entry of `answers`; no raw visitor id is in it.

    `item_ids`, `scores`: as they were served, by slot. `item_id`: the page's own. `variant`: `experiment/variant`.
    `shown_before`: by the answers that this one goes on from. `rules`: what of the policy took part.
    `propensities`: by slot, how likely chance was to put just this item there; None where it had no say, empty where it
    had none anywhere. `exploration`: the slots whose order it drew.
    `kept`: what it was made of, once for each list that was drafted from; empty in all but a share of the answers.
    """

    recommendation_id: str
    visitor_key: str
    placement: str
    time_ms: int
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    served_by: str
    degraded: str | None = None
    model_version: str | None = None
    item_id: str | None = None
    variant: str | None = None
    took_ms: float = 0.0
    rules: tuple[str, ...] = ()
    shown_before: tuple[str, ...] = ()
    propensities: tuple[float | None, ...] = ()
    exploration: Exploration | None = None
    kept: tuple[KeptAnswer, ...] = ()


class AnswersLog:
    """A bounded queue in front of the bus; at the limit the oldest answer is dropped and counted.

    Dropping the oldest: while the bus is down the newest are worth most to whoever looks at what was served.
    """

    def __init__(self, *, pending_max: int, flush_ms: int) -> None:
        self._pending: deque[ServedAnswer] = deque()
        self._pending_max = pending_max
        self._flush_s = flush_ms / 1000
        self._waiting = asyncio.Event()

    def add(self, answer: ServedAnswer) -> None:
        """Take one answer; never waits."""
        if len(self._pending) >= self._pending_max:
            self._pending.popleft()
            _DROPPED.inc()
        self._pending.append(answer)
        self._waiting.set()

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Publish every `flush_ms` what has come, until `stop`; then once more what is left."""
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                waiting = asyncio.create_task(self._waiting.wait())
                await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                await asyncio.wait({stopped}, timeout=self._flush_s)
                if not await self._flush(bus):
                    await asyncio.wait({stopped}, timeout=_RETRY_S)
        finally:
            stopped.cancel()
        await self._flush(bus)

    async def _flush(self, bus: Bus) -> bool:
        """Publish all that waits, a pack at a time; False when the bus did not take something."""
        self._waiting.clear()
        while self._pending:
            pack = [self._pending.popleft() for _ in range(min(_PACK_MAX, len(self._pending)))]
            _PENDING.set(len(self._pending))
            verdicts = await bus.publish(ANSWERS, [_record(answer) for answer in pack])
            refused = [answer for answer, verdict in zip(pack, verdicts, strict=True) if isinstance(verdict, BusError)]
            _LOGGED.inc(len(pack) - len(refused))
            if refused:
                self._take_back(refused)
                return False
        return True

    def _take_back(self, refused: Sequence[ServedAnswer]) -> None:
        room = max(0, self._pending_max - len(self._pending))
        kept = refused[len(refused) - min(room, len(refused)) :]
        _DROPPED.inc(len(refused) - len(kept))
        self._pending.extendleft(reversed(kept))
        self._waiting.set()


Log = Callable[[ServedAnswer], None]

_encoder = msgspec.json.Encoder()


def _record(answer: ServedAnswer) -> Record:
    return Record(bytes.fromhex(answer.visitor_key), _encoder.encode(answer), answer.time_ms)
