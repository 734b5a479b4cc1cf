"""Take posted events in: decode, judge, publish durably, and only then say accepted."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Sequence

import msgspec
from prometheus_client import Counter

from ingest.attribution import Attributor, Names
from ingest.bus.contract import Bus, Published, Record
from ingest.errors import BusError, BusFullError, EventRejectedError, RequestRefusedError
from ingest.events import Event, encode_event
from ingest.group_commit import GroupCommit, OverloadedError
from ingest.recommendation_token import TokenCodec
from ingest.rejections import explain_decoding, message_id_of, rejected_record
from ingest.settings import CollectorSettings
from ingest.topics import EVENTS, EVENTS_REJECTED, Topic
from ingest.validation import Circumstances, accept_event, decode_sent, users_copy
from ingest.verdicts import (
    CollectorReply,
    Verdict,
    accepted,
    not_kept,
    rejected,
    reply_to_refusal,
    reply_to_verdicts,
)
from ingest.wire import split_body

_ACCEPTED = Counter("afterclick_ingest_events_accepted_total", "Events durably on the bus")
_NOT_KEPT = Counter("afterclick_ingest_events_not_kept_total", "Events dropped for want of consent")
_REJECTED = Counter("afterclick_ingest_events_rejected_total", "Events rejected, by reason", ["code"])
_REFUSED = Counter("afterclick_ingest_requests_refused_total", "Requests refused whole, by reason", ["code"])


class Collector:
    """The room's front door; one for each process.

    Args:
        secret: 16 to 64 bytes, keys the hash that raw visitor ids become. They go no further than this class.
        clock: Unix milliseconds; stamps what is rejected.
        names: of placements and variants that a `recommendation_id` may speak of.
        tell: is given what was accepted, once it is durable; must not wait.
    """

    def __init__(
        self,
        bus: Bus,
        settings: CollectorSettings,
        secret: bytes,
        clock: Callable[[], int],
        names: Names | None = None,
        tell: Callable[[Sequence[Event]], None] | None = None,
    ) -> None:
        self._tell = tell
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._attributor = Attributor(TokenCodec(secret), names if names is not None else Names())
        self._events = self._committer(bus, EVENTS)
        self._rejected = self._committer(bus, EVENTS_REJECTED)

    async def accept(
        self, body: bytes, *, content_type: str, received_at_ms: int, privileged: bool = False
    ) -> CollectorReply:
        """Judge one request. A 202 means that every event it calls accepted survives `kill -9` of anything.

        `privileged`: it came with the secret key; events older than the allowed lateness then pass, marked `late`.
        After a 503 the sender repeats the request; what had been taken of it already is recognised by `message_id`.
        """
        try:
            batch = split_body(body, content_type=content_type, settings=self._settings)
            given = Circumstances(
                received_at_ms, privileged, batch.sent_at, self._secret, self._settings, self._attributor
            )
            judged = _Judged()
            for raw in batch.events:
                self._judge(raw, given, judged)
            await self._commit(judged)
        except RequestRefusedError as refusal:
            _REFUSED.labels(refusal.code).inc()
            return reply_to_refusal(refusal)
        judged.count()
        if self._tell is not None:
            self._tell(judged.told)
        return reply_to_verdicts(judged.verdicts)

    async def close(self) -> None:
        """Wait for what is on its way to the bus."""
        await asyncio.gather(self._events.close(), self._rejected.close())

    def _committer(self, bus: Bus, topic: Topic) -> GroupCommit:
        return GroupCommit(
            bus,
            topic,
            pending_records_max=self._settings.pending_records_max,
            publish_records_max=self._settings.publish_records_max,
        )

    def _judge(self, raw: bytes | msgspec.Raw, given: Circumstances, judged: "_Judged") -> None:
        try:
            sent = decode_sent(raw, bytes_max=self._settings.event_bytes_max)
            event = accept_event(sent, given)
        except EventRejectedError as error:
            self._reject(bytes(raw), error, judged)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._reject(bytes(raw), explain_decoding(error, bytes(raw)), judged)
        else:
            if sent.consent == "none":
                judged.not_kept += 1
                judged.verdicts.append(not_kept(sent.message_id))
                return
            judged.events.append(Record(bytes.fromhex(event.visitor_key), encode_event(event), event.time_ms))
            if self._tell is not None:
                judged.told.append(event)
            if (copy := users_copy(event)) is not None:
                judged.events.append(Record(bytes.fromhex(copy.visitor_key), encode_event(copy), copy.time_ms))
                judged.copies += 1
            judged.verdicts.append(accepted(sent.message_id))

    def _reject(self, raw: bytes, error: EventRejectedError, judged: "_Judged") -> None:
        now_ms = self._clock()
        record = rejected_record(
            error, raw, secret=self._secret, rejected_at_ms=now_ms, bytes_max=self._settings.rejected_bytes_max
        )
        judged.rejected.append(Record(b"", msgspec.json.encode(record), now_ms))
        judged.codes[error.code] += 1
        judged.verdicts.append(rejected(message_id_of(raw), error))

    async def _commit(self, judged: "_Judged") -> None:
        """Raises RequestRefusedError (503) unless the bus has all of it: a half-kept request is repeated whole."""
        waits = [
            committer.publish(records)
            for committer, records in ((self._events, judged.events), (self._rejected, judged.rejected))
            if records
        ]
        try:
            async with asyncio.timeout(self._settings.accept_ms_max / 1000):
                for verdicts in await asyncio.gather(*waits) if len(waits) > 1 else [await wait for wait in waits]:
                    self._check_durable(verdicts)
        except TimeoutError as error:
            raise self._refuse("bus_unavailable", f"no word within {self._settings.accept_ms_max} ms") from error
        except OverloadedError as error:
            raise self._refuse("overloaded", str(error)) from error

    def _check_durable(self, verdicts: Sequence[Published]) -> None:
        for verdict in verdicts:
            if isinstance(verdict, BusError):
                code = "bus_full" if isinstance(verdict, BusFullError) else "bus_unavailable"
                raise self._refuse(code, str(verdict)) from verdict

    def _refuse(self, code: str, got: str) -> RequestRefusedError:
        return RequestRefusedError(
            503,
            code,
            wanted="a bus that takes events durably",
            got=got,
            next_step="send the same request again after Retry-After; nothing is counted twice",
            retry_after_s=self._settings.retry_after_s,
        )


class _Judged:
    """What one request came to, before the bus has it."""

    def __init__(self) -> None:
        self.events: list[Record] = []
        self.told: list[Event] = []
        self.rejected: list[Record] = []
        self.verdicts: list[Verdict] = []
        self.codes: Tally[str] = Tally()
        self.not_kept = 0
        self.copies = 0

    def count(self) -> None:
        """Only once the answer is certain, so that a repeated request is not counted for each try."""
        _ACCEPTED.inc(len(self.events) - self.copies)
        if self.not_kept:
            _NOT_KEPT.inc(self.not_kept)
        for code, count in self.codes.items():
            _REJECTED.labels(code).inc(count)
