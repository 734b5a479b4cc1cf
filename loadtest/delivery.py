"""Send batches of events until the server says 202, and count what it said of each."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from loadtest.client import Client, Response
from loadtest.errors import ConnectionLostError, KeyRefusedError, RequestRefusedError, ServerUnavailableError

SentEvent = Mapping[str, Any]
"""One event in wire names."""

BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.1, 5.0


class Tally:
    """What became of everything sent; the one mutable thing a replay or a load run shares between its tasks."""

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.resent = 0
        self.requests = 0
        self.rejected: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()


class _Verdict(msgspec.Struct):
    status: str
    code: str | None = None


class _Answer(msgspec.Struct):
    """The parts of a 202 or a problem document that are counted."""

    accepted: int = 0
    rejected: int = 0
    verdicts: msgspec.Raw = msgspec.Raw(b"[]")
    type: str = ""
    detail: str = ""


class Delivery:
    """Posts batches to `/v1/events`, again and again on 429, 503 and lost connections until `deadline_s` has passed."""

    def __init__(self, client: Client, tally: Tally, *, deadline_s: float, seed: int = 0) -> None:
        self._client = client
        self._tally = tally
        self._deadline_s = deadline_s
        self._jitter = random.Random(seed)

    async def send(self, events: Sequence[SentEvent]) -> None:
        """Return when each of `events` is accepted or rejected for good.

        Raises:
            KeyRefusedError: 401 or 403.
            RequestRefusedError: an answer that no resend will change.
            ServerUnavailableError: not taken before the deadline.
        """
        self._tally.sent += len(events)
        await self._send(events, asyncio.get_running_loop().time() + self._deadline_s)

    async def _send(self, events: Sequence[SentEvent], deadline: float) -> None:
        body = orjson.dumps({"events": events})
        backoff_s = BACKOFF_S_FIRST
        while True:
            wait_s: float | None = None
            try:
                self._tally.requests += 1
                response = await self._client.request("POST", "/v1/events", body=body)
            except ConnectionLostError as error:
                reason = f"connection: {error}"
                self._tally.retries["connection"] += 1
            else:
                if response.status == 413 and len(events) > 1:
                    middle = len(events) // 2
                    await self._send(events[:middle], deadline)
                    await self._send(events[middle:], deadline)
                    return
                if not _retryable(response.status):
                    self._count(response, events)
                    return
                reason = f"{response.status}: {problem_text(response)}"
                wait_s = retry_after_s(response)
                self._tally.retries[str(response.status)] += 1
            await self._pause(wait_s if wait_s is not None else backoff_s, deadline, reason)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
            self._tally.resent += len(events)

    async def _pause(self, wait_s: float, deadline: float, reason: str) -> None:
        # Jitter upwards only: Retry-After is the least the server asks for.
        wait_s *= 1.0 + 0.25 * self._jitter.random()
        if asyncio.get_running_loop().time() + wait_s > deadline:
            raise ServerUnavailableError(
                f"wanted 202 for a batch within {self._deadline_s:g} s; got {reason}; start the server again, "
                "then run the same command: what was taken already changes nothing"
            )
        await asyncio.sleep(wait_s)

    def _count(self, response: Response, events: Sequence[SentEvent]) -> None:
        if response.status in {401, 403}:
            raise KeyRefusedError(f"the server refused the key ({response.status}): {problem_text(response)}")
        if response.status not in {202, 400, 413, 422}:
            raise RequestRefusedError(f"wanted 202 from /v1/events; got {response.status}: {problem_text(response)}")
        answer = _decode(response)
        if response.status == 202 and not answer.rejected:
            self._tally.accepted += len(events)
            return
        verdicts = msgspec.json.decode(answer.verdicts, type=list[_Verdict])
        if len(verdicts) != len(events):
            code = answer.type.rpartition("/")[2] or str(response.status)
            self._tally.rejected[code] += len(events)
            return
        for verdict in verdicts:
            if verdict.status == "accepted":
                self._tally.accepted += 1
            else:
                self._tally.rejected[verdict.code or str(response.status)] += 1


def retry_after_s(response: Response) -> float | None:
    """What the header `Retry-After` says, in seconds; None without one or where it is a date."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def problem_text(response: Response) -> str:
    """The detail of a problem document, or the first 200 characters of whatever came."""
    try:
        detail = msgspec.json.decode(response.body, type=_Answer).detail
    except msgspec.DecodeError:
        detail = ""
    return detail or response.body[:200].decode("utf-8", "replace")


def _retryable(status: int) -> bool:
    # 500, 502, 504 come from a proxy or a dying process; the event's id makes a resend safe.
    return status in {408, 429} or status >= 500


def _decode(response: Response) -> _Answer:
    try:
        return msgspec.json.decode(response.body, type=_Answer)
    except msgspec.DecodeError as error:
        raise RequestRefusedError(
            f"wanted the collector's answer; got {response.status} with {response.body[:100]!r}; is this Afterclick?"
        ) from error
