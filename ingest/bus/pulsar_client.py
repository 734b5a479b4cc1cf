"""The bridge to Pulsar's client, whose callbacks come from its own threads: futures, errors, a pump for reads."""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import _pulsar
import pulsar

from ingest.bus.packs import UnfitRecordError
from ingest.bus.pulsar_address import PulsarAddress
from ingest.errors import BusError, BusFullError, BusUnavailableError

_OPERATION_S = 10
_CLOSE_S = 3.0

_FULL = frozenset({"ProducerBlockedQuotaExceededError", "ProducerBlockedQuotaExceededException"})
_UNFIT = frozenset({"MessageTooBig"})
_REFUSED = frozenset(
    {"AuthenticationError", "AuthorizationError", "InvalidTopicName", "InvalidUrl", "NotAllowedError"}
    | {"IncompatibleSchema", "InvalidConfiguration", "TopicNotFound", "TopicTerminated", "UnsupportedVersionError"}
)

NO_SCHEMA = pulsar.schema.BytesSchema().schema_info()


def open_client(address: PulsarAddress) -> Any:
    """A client of the broker; it connects when it is first used."""
    # The client's own chatter goes nowhere: its Python logger would call into us from its threads, its console logger
    # writes to stdout. What goes wrong comes back as results, which are all looked at.
    quiet = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
    return pulsar.Client(address.service_url, logger=quiet, operation_timeout_seconds=_OPERATION_S)._client


def error_of(result: Any, doing: str) -> BusError:
    """Whose fault a result of the client is."""
    name = getattr(result, "name", str(result))
    if name in _FULL:
        return BusFullError(f"Pulsar refuses to {doing}: {name}; let the readers catch up or raise the backlog quota")
    if name in _UNFIT:
        return UnfitRecordError(f"Pulsar refuses to {doing}: {name}; lower bus.pack_bytes_max")
    if name in _REFUSED:
        return BusError(f"Pulsar refuses to {doing}: {name}")
    return BusUnavailableError(f"Pulsar does not {doing} ({name}); is the broker up?")


def asked(doing: str, function: Callable[..., None], *args: object) -> "asyncio.Future[Any]":
    """Call one of the client's `…_async` functions; the future is done in our loop.

    It fails with the `BusError` of the result.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def done(outcome: Any, found: Any = None) -> None:
        # The newer functions give an error or the object, the older ones a result and the object.
        if isinstance(outcome, _pulsar.Error):
            _settle(loop, future, None, error_of(outcome.error, doing))
        elif isinstance(outcome, _pulsar.Result) and outcome != _pulsar.Result.Ok:
            _settle(loop, future, None, error_of(outcome, doing))
        else:
            _settle(loop, future, found if isinstance(outcome, _pulsar.Result) else outcome, None)

    function(*args, done)
    return future


async def closed(thing: Any) -> None:
    """Close a client, producer, consumer or reader; one whose broker is gone is given up after a while."""
    with contextlib.suppress(BusError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await asked("close", thing.close_async)


class Pump:
    """Takes messages off one consumer or reader, at once where the client has them at hand.

    `receive`: the client's `receive_async` or `read_next_async`. `wake` is set when a message has come that was waited
    for. At most one call is open, so the client's own queue is the only buffer.
    """

    def __init__(self, receive: Callable[[Callable[[Any, Any], None]], None], wake: asyncio.Event) -> None:
        self._receive = receive
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._came: deque[Any] = deque()
        self._waiting = False
        self.failed: BusError | None = None

    def take(self) -> Any | None:
        """The next message, or None: then `wake` will be set when there is one."""
        if not self._came and not self._waiting and self.failed is None:
            self._waiting = True
            self._receive(self._take_in)
        return self._came.popleft() if self._came else None

    @property
    def idle(self) -> bool:
        """Has nothing come that was not taken?"""
        return not self._came

    def _take_in(self, result: Any, message: Any) -> None:
        if result == _pulsar.Result.Ok:
            self._came.append(message)
        else:
            self.failed = error_of(result, "deliver")
        if threading.get_ident() == self._thread:
            # It was at hand: called back from within `take`.
            self._waiting = False
        else:
            # The loop may be closed already; an exception here would end the process.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._arrived)

    def _arrived(self) -> None:
        self._waiting = False
        self._wake.set()


def _settle(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", found: Any, error: BusError | None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
