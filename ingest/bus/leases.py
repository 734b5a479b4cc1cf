"""Which partitions a consumer holds: leases in the embedded bus, renewed, fenced, shared fairly."""

import asyncio
import time

import msgspec

from ingest.bus.embedded_client import ValkeyLink
from ingest.bus.metrics import EPOCHS, PARTITIONS_LOST, STALE_ACKS
from ingest.topics import Topic

_ADAPTER = "embedded"


class Held(msgspec.Struct):
    """A partition held. `fence` grows with every change of holder; `read_id` is the last message fetched."""

    partition: int
    fence: int
    read_id: bytes
    done_id: bytes | None = None
    """The newest message acknowledged and not yet committed."""


class Leases:
    """One consumer's partitions of one subscription.

    `valid` is judged by this process's own clock from before the renewal was sent, so a process that was stopped
    knows on waking that it may have lost everything, before it hands out or acknowledges anything more.
    """

    def __init__(self, link: ValkeyLink, topic: Topic, name: str, token: str) -> None:
        self._link = link
        self._topic = topic
        self._name = name
        self._token = token
        self._valid_until_s = 0.0
        self._renewing = asyncio.Lock()
        self.log_id = 0
        self.held: dict[int, Held] = {}

    @property
    def valid(self) -> bool:
        """Does nobody else hold these partitions, for sure?"""
        return time.monotonic() < self._valid_until_s

    def invalidate(self) -> None:
        """The broker was out of reach: ask before delivering more."""
        self._valid_until_s = 0.0

    async def join(self, partitions: int) -> None:
        """Make the subscription's cursors, and take a first share.

        Raises:
            BusError: as `renew`.
        """
        await self._link.call("bus_join", [], self._topic.name, self._name, partitions)
        await self.renew()

    async def renew(self) -> None:
        """Renew, give back what is over the fair share, take what is free.

        Raises:
            BusUnavailableError: the broker does not answer; nothing is held for sure any more after `lease_ms`.
            LogChangedError: the topic is gone.
        """
        # One at a time: replies that overtake each other would bring back what was given away.
        async with self._renewing:
            await self._renew()

    def holds(self, partition: int, fence: int) -> bool:
        """Is this partition still held under this fence?"""
        held = self.held.get(partition)
        return held is not None and held.fence == fence

    def acknowledge(self, partition: int, fence: int, message_id: bytes) -> None:
        """Everything up to `message_id` is done; committed with the next `commit`. A late one changes nothing."""
        if self.holds(partition, fence):
            self.held[partition].done_id = message_id
        else:
            STALE_ACKS.labels(_ADAPTER).inc()

    async def commit(self) -> None:
        """Write the cursors; the server refuses those of partitions that others hold now.

        Raises:
            BusError: as `renew`; what was acknowledged stays to be committed.
        """
        done = [(held, held.done_id) for held in self.held.values() if held.done_id is not None]
        if not done:
            return
        args: list[object] = []
        for held, done_id in done:
            args += [held.partition, held.fence, done_id]
        lost = await self._link.call("bus_commit", [], self._topic.name, self._name, self._token, *args)
        for held, done_id in done:
            if held.done_id == done_id:
                held.done_id = None
        if lost:
            STALE_ACKS.labels(_ADAPTER).inc(len(lost))
            self.invalidate()

    async def leave(self) -> None:
        """Commit, and free the partitions at once.

        Raises:
            BusError: as `renew`; the leases end by themselves then.
        """
        try:
            await self.commit()
        finally:
            await self._link.call("bus_leave", [], self._topic.name, self._name, self._token)
            self.held = {}
            self.invalidate()

    async def _renew(self) -> None:
        lease_ms = self._link.settings.lease_ms
        asked_s = time.monotonic()
        reply = await self._link.call("bus_lease", [], self._topic.name, self._name, self._token, lease_ms)
        log_id = int(reply[0])
        if log_id != self.log_id:
            self.held, self.log_id = {}, log_id
        now_held: dict[int, Held] = {}
        for partition, fence, cursor in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
            known = self.held.get(partition)
            if known is None or known.fence != int(fence):
                EPOCHS.labels(_ADAPTER).inc()
                known = Held(int(partition), int(fence), bytes(cursor))
            now_held[known.partition] = known
        PARTITIONS_LOST.labels(_ADAPTER).inc(len(self.held.keys() - now_held.keys()))
        self.held = now_held
        self._valid_until_s = asked_s + lease_ms / 1000
