"""Take Segment's requests in: every message becomes an event for the collector, and gets its verdict back in order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from api.errors import BadRequestError, InvalidParameterError
from api.problems import shown
from api.routes.events import Accept
from ingest.segment import CALLS, event_of, message_id_of
from ingest.verdicts import Answer, CollectorReply, Verdict

_NOT_KEPT = "not_kept"


class SegmentMessage(msgspec.Struct, frozen=True):
    """For the API's description alone: one message as Segment's libraries send it; fields we do not know pass."""

    type: Literal["track", "page", "screen", "identify", "alias", "group"] | None = None
    event: str | None = None
    messageId: str | None = None  # noqa: N815 - Segment's own names
    anonymousId: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    previousId: str | None = None  # noqa: N815
    timestamp: datetime | None = None
    sentAt: datetime | None = None  # noqa: N815
    properties: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class SegmentBatch(msgspec.Struct, frozen=True):
    """For the API's description alone: several messages; each says its `type`."""

    batch: Annotated[list[SegmentMessage], msgspec.Meta(min_length=1)]
    sentAt: datetime | None = None  # noqa: N815


class SegmentDoor:
    """In front of the collector."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept

    async def __call__(self, body: bytes, *, call: str, received_at_ms: int, privileged: bool) -> CollectorReply:
        """`call`: "batch", or what the one message of `body` is.

        Raises:
            BadRequestError: no JSON.
            InvalidParameterError: not the shape of a message or a batch.
        """
        messages, sent_at = _messages(body, call)
        events = [event_of(message, str(message.get("type") if call == "batch" else call)) for message in messages]
        kept = [event for event in events if event is not None]
        if not kept:
            return CollectorReply(202, Answer(len(messages), 0, [_not_kept(message) for message in messages]))
        batch: dict[str, Any] = {"events": kept} | ({"sent_at": sent_at} if sent_at else {})
        reply = await self._accept(
            msgspec.json.encode(batch),
            content_type="application/json",
            received_at_ms=received_at_ms,
            privileged=privileged,
        )
        return _merged(reply, messages, events)


def _messages(body: bytes, call: str) -> tuple[list[dict[str, Any]], str | None]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(
            "broken_json", wanted="one JSON object", got=str(error)[:120], next_step="send valid JSON in UTF-8"
        ) from error
    if call != "batch":
        document = {"batch": [document], "sentAt": None}
    messages = document.get("batch") if isinstance(document, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise _invalid('{"batch": [message, …]}, or one message', shown(document))
    for message in messages:
        if call == "batch" and message.get("type") not in CALLS:
            raise _invalid(f"`type` of {', '.join(CALLS)} in every message", shown(message.get("type")))
    sent_at = document.get("sentAt")
    return messages, sent_at if isinstance(sent_at, str) else None


def _merged(
    reply: CollectorReply, messages: Sequence[dict[str, Any]], events: Sequence[dict[str, Any] | None]
) -> CollectorReply:
    """The collector's verdicts, with those of what it was not given between them."""
    given = reply.body.verdicts
    if reply.status not in {202, 422} or given is msgspec.UNSET or all(event is not None for event in events):
        return reply
    verdicts = iter(given)
    merged = [
        _not_kept(message) if event is None else next(verdicts) for message, event in zip(messages, events, strict=True)
    ]
    rejected = sum(verdict.status == "rejected" for verdict in merged)
    return CollectorReply(202, Answer(len(merged) - rejected, rejected, merged))


def _not_kept(message: dict[str, Any]) -> Verdict:
    return Verdict(
        message_id_of(message),
        "accepted",
        _NOT_KEPT,
        wanted="an event of a shop, as docs/events.md lists them",
        got=shown(message.get("event") or message.get("type")),
        next_step="nothing: it is taken and dropped, as suggestions have no use for it",
    )


def _invalid(wanted: str, got: str) -> InvalidParameterError:
    return InvalidParameterError(
        "not_a_message", wanted=wanted, got=got, next_step="see docs/events.md for Segment's shapes"
    )
