"""A work queue of the embedded bus: a consumer group, delays in a sorted set, dead letters in a stream of their own."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from ingest.bus.contract import Delivery
from ingest.bus.embedded_client import LogChangedError, ValkeyLink
from ingest.bus.embedded_keys import FIRST_ID, split_id, stream_key
from ingest.bus.embedded_stream import decode_entries
from ingest.bus.packs import PackCodec
from ingest.errors import BusError, BusUnavailableError
from ingest.task_ending import end_tasks
from ingest.topics import Topic

_BLOCK_MS_MAX = 250
_PAUSE_S = 0.1


class QueueHandle(msgspec.Struct, frozen=True):
    """What `acknowledge` and `nack` need of a delivery."""

    message_id: bytes


class QueueSubscription:
    """Keeps `contract.Subscription` in the mode `queue`."""

    def __init__(
        self, link: ValkeyLink, topic: Topic, name: str, consumer: str, *, rejoin: Callable[[], Awaitable[None]]
    ) -> None:
        self._link = link
        self._topic = topic
        self._name = name
        self._consumer = consumer
        self._rejoin = rejoin
        self._codec = PackCodec()
        self._reader = link.reader()
        self._done: list[bytes] = []
        self._tending = asyncio.create_task(self._tend())

    async def receive(self, *, wait_ms: int, entries_max: int) -> list[Delivery]:
        """As the contract says."""
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            try:
                taken, last_id, due_ms = await self._take(entries_max)
                left_ms = int((deadline_s - time.monotonic()) * 1000)
                if taken or left_ms <= 0:
                    return taken
                await self._sleep(last_id, min(left_ms, due_ms or left_ms, _BLOCK_MS_MAX))
            except LogChangedError:
                await self._rejoin()
            except BusUnavailableError:
                await asyncio.sleep(min(_PAUSE_S, wait_ms / 1000))
                raise

    async def acknowledge(self, delivery: Delivery) -> None:
        """Committed within `ack_interval_ms`."""
        self._done.append(_handle_of(delivery).message_id)

    async def nack(self, delivery: Delivery, *, delay_ms: int = 0) -> None:
        """As the contract says; an entry that is another consumer's by now stays with that one."""
        message_id = _handle_of(delivery).message_id
        await self._link.call("bus_nack", [], self._topic.name, self._name, self._consumer, message_id, delay_ms)

    async def close(self) -> None:
        """Acknowledge what is done and leave; what is not done goes to others at once."""
        await end_tasks(self._tending)
        with contextlib.suppress(BusError):
            await self._commit()
            await self._link.call("bus_leave", [], self._topic.name, self._name, self._consumer)
        await self._reader.close()

    async def _take(self, entries_max: int) -> tuple[list[Delivery], bytes, int]:
        await self._commit()
        lease_ms = self._link.settings.lease_ms
        count = min(entries_max, self._link.settings.receive_packs_max)
        reply = await self._link.call("bus_take", [], self._topic.name, self._name, self._consumer, count, lease_ms)
        log_id, last_id, due_ms = int(reply[0]), bytes(reply[1]), int(reply[2])
        rows = zip(reply[3::3], reply[4::3], reply[5::3], strict=True)
        return [self._delivery(log_id, *row) for row in rows], last_id, due_ms

    def _delivery(self, log_id: int, message_id: bytes, deliveries: int, flat: list[bytes]) -> Delivery:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return Delivery(
            topic=self._topic.name,
            partition=0,
            log_id=log_id,
            accepted_at_ms=split_id(message_id)[0],
            entries=decode_entries(self._topic, message_id, fields, self._codec),
            redelivery_count=max(0, deliveries - 1),
            handle=QueueHandle(message_id),
        )

    async def _sleep(self, last_id: bytes, wait_ms: int) -> None:
        """Until something new is in the stream, or `wait_ms` has passed."""
        args = ("COUNT", 1, "BLOCK", max(1, wait_ms), "STREAMS", stream_key(self._topic, 0), last_id or FIRST_ID)
        await self._reader.ask("XREAD", *args)

    async def _commit(self) -> None:
        if self._done:
            done, self._done = self._done, []
            try:
                await self._link.call("bus_done", [], self._topic.name, self._name, *done)
            except BusError:
                self._done = done + self._done
                raise

    async def _tend(self) -> None:
        """Commit, and stay a member even while the caller works on a delivery for longer than a lease."""
        settings = self._link.settings
        renewed_s = time.monotonic()
        while True:
            await asyncio.sleep(settings.ack_interval_ms / 1000)
            with contextlib.suppress(BusError):
                await self._commit()
                if time.monotonic() - renewed_s >= settings.lease_ms / 3000:
                    await self._link.call(
                        "bus_stay", [], self._topic.name, self._name, self._consumer, settings.lease_ms
                    )
                    renewed_s = time.monotonic()


async def make_group(link: ValkeyLink, topic: Topic, name: str) -> None:
    """Make the subscription's consumer group, from the earliest entry; idempotent.

    Raises:
        BusError: the broker does not answer, or refuses.
    """
    try:
        await link.ask("XGROUP", "CREATE", stream_key(topic, 0), name, "0", "MKSTREAM")
    except BusError as error:
        if "already exists" not in str(error):
            raise


def _handle_of(delivery: Delivery) -> QueueHandle:
    if not isinstance(delivery.handle, QueueHandle):
        raise BusError(f"wanted a delivery of this subscription, got one with handle {delivery.handle!r}")
    return delivery.handle
