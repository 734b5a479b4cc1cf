"""Split a posted body into the raw JSON of its events, whatever shape it came in."""

import re
from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.errors import RequestRefusedError
from ingest.settings import CollectorSettings

JSON_TYPES = frozenset({"application/json", "text/plain"})
"""`text/plain` is what beacons send, since it needs no preflight."""
LINES_TYPES = frozenset({"application/x-ndjson", "application/jsonl"})


class SentBatch(msgspec.Struct, frozen=True, gc=False):
    """The events of one body, not yet decoded, and the batch's own `sent_at`, checked but for its range."""

    events: list[bytes | Raw]
    sent_at: int | datetime | None = None


def split_body(body: bytes, *, content_type: str, settings: CollectorSettings) -> SentBatch:
    """Accepts one event, `{"events" | "batch": […], "sent_at": …}`, a bare array, or newline-delimited JSON.

    Raises:
        RequestRefusedError: too large, not JSON, or of a type nobody asked for; nothing of it was taken.
    """
    if len(body) > settings.body_bytes_max:
        raise RequestRefusedError(
            413,
            "body_too_large",
            wanted=f"at most {settings.body_bytes_max} bytes",
            got=f"{len(body)} bytes",
            next_step="send several smaller batches",
        )
    kind = content_type.partition(";")[0].strip().lower()
    if kind in JSON_TYPES:
        batch = _split_json(body)
    elif kind in LINES_TYPES:
        batch = SentBatch([line for line in body.splitlines() if line.strip()])
    else:
        raise RequestRefusedError(
            415,
            "unsupported_content_type",
            wanted="application/json, text/plain (JSON in a beacon) or application/x-ndjson",
            got=kind[:64] or "no Content-Type",
            next_step="set the Content-Type header to one of these",
        )
    _check_count(len(batch.events), settings.batch_events_max)
    return batch


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """A batch by either name; fields of a single event pass unread."""

    events: list[Raw] | UnsetType = UNSET
    batch: list[Raw] | UnsetType = UNSET
    sent_at: Raw | UnsetType = UNSET


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_array_decoder = msgspec.json.Decoder(list[Raw])
_sent_at_decoder: msgspec.json.Decoder[int | datetime | None] = msgspec.json.Decoder(int | datetime | None)


def _split_json(body: bytes) -> SentBatch:
    try:
        return _split_valid_json(body)
    except msgspec.ValidationError as error:
        raise _not_a_batch(str(error)) from error
    except RecursionError as error:
        raise _broken("nested too deeply") from error
    except msgspec.DecodeError:
        # A browser that cuts a search term inside an emoji sends half a surrogate pair, which JSON may not hold. Such a
        # character must not cost the whole batch: it becomes U+FFFD, and the body gets a second chance.
        mended = mend_text(body)
    try:
        return _split_valid_json(mended)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _broken(str(error)) from error


def _split_valid_json(body: bytes) -> SentBatch:
    if body.lstrip()[:1] == b"[":
        return SentBatch(list(_array_decoder.decode(body)))
    envelope = _envelope_decoder.decode(body)
    events = envelope.events if envelope.events is not UNSET else envelope.batch
    if events is UNSET:
        return SentBatch([body])
    return SentBatch(list(events), None if envelope.sent_at is UNSET else _sent_at(envelope.sent_at))


def _sent_at(raw: Raw) -> int | datetime | None:
    try:
        return _sent_at_decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise RequestRefusedError(
            422,
            "bad_sent_at",
            wanted="sent_at in Unix milliseconds or RFC 3339",
            got=bytes(raw)[:64].decode("utf-8", "replace"),
            next_step="in a browser: sent_at: Date.now()",
        ) from error


# An escaped backslash is matched first, so that the `\\ud83d` of a text about escapes is left alone.
_ESCAPE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\[^u]", re.DOTALL)


def mend_text(body: bytes) -> bytes:
    """`body` with unpaired surrogate escapes and bytes that are not UTF-8 replaced by U+FFFD."""
    mended = _ESCAPE.sub(lambda found: b"\\ufffd" if len(found[0]) == 6 else found[0], body)
    return mended.decode("utf-8", "replace").encode()


def _check_count(count: int, count_max: int) -> None:
    if count == 0:
        raise RequestRefusedError(
            422, "empty_batch", wanted="at least one event", got="none", next_step="send nothing when there is nothing"
        )
    if count > count_max:
        raise RequestRefusedError(
            413,
            "too_many_events",
            wanted=f"at most {count_max} events a request",
            got=f"{count} events",
            next_step="send several smaller batches",
        )


def _not_a_batch(problem: str) -> RequestRefusedError:
    return RequestRefusedError(
        422,
        "not_a_batch",
        wanted='one event, an array of events, or {"events": [...], "sent_at": ...}',
        got=problem,
        next_step="see docs/events.md for the shapes of a body",
    )


def _broken(problem: str) -> RequestRefusedError:
    return RequestRefusedError(
        400, "broken_json", wanted="valid JSON", got=problem[:200], next_step="serialise the body with a JSON library"
    )
