"""Explain a rejection to its sender, and keep the event for mending without the ids that name a person."""

import re
from typing import Any

import msgspec

from ingest.errors import EventRejectedError
from ingest.events import ITEMS_MAX, RejectedEvent, SentEvent
from ingest.identity import visitor_key

_GOT_CHARACTERS_MAX = 64
_KEPT_FIELDS = tuple(field for field in SentEvent.__struct_fields__ if field not in {"anonymous_id", "user_id"})
_PERSONAL = frozenset({"anonymous_id", "user_id"})


def explain_decoding(error: Exception, raw: bytes) -> EventRejectedError:
    """What msgspec found, told in the sender's terms. `raw` is the event's JSON."""
    if not isinstance(error, msgspec.ValidationError):
        return EventRejectedError(
            "broken_json",
            wanted="an event as one JSON object",
            got=str(error)[:200],
            next_step="serialise the event with a JSON library",
        )
    problem, _, path = str(error).partition(" - at `")
    path = path.removesuffix("`").removeprefix("$.")
    if problem.startswith("Object missing required field"):
        return _missing_field(problem.split("`")[1], path)
    if path == "items" and "length" in problem:
        return EventRejectedError(
            "too_many_items",
            wanted=f"at most {ITEMS_MAX} items",
            got=f"{_length(raw, path)} items",
            next_step="send the rest as a second event with a message_id of its own",
        )
    wanted = problem.partition(", got")[0].removeprefix("Expected ").replace("`", "")
    return EventRejectedError(
        "bad_field",
        wanted=f"{path or 'the event'}: {wanted}",
        got=_shown(raw, path),
        next_step="see docs/events.md for every field's form",
    )


def rejected_record(
    error: EventRejectedError, raw: bytes, *, secret: bytes, rejected_at_ms: int, bytes_max: int
) -> RejectedEvent:
    """The entry for `events-rejected`. Ids of people become their keys; fields outside the vocabulary are left out.

    `visitor_key` and `user_key` stand where the raw ids were, so that a mended event keeps its visitor.
    """
    event = without_raw_ids(decode_loosely(raw), secret=secret)
    if len(msgspec.json.encode(event)) > bytes_max:
        named = [name for name in ("message_id", "event") if name in event]
        kept: dict[str, Any] = {name: str(event[name])[:_GOT_CHARACTERS_MAX] for name in named}
        event = {**kept, "dropped_bytes": len(raw)}
    return RejectedEvent(
        code=error.code,
        wanted=error.wanted,
        got=error.got,
        next_step=error.next_step,
        stage="collector",
        rejected_at_ms=rejected_at_ms,
        event=event or None,
    )


def without_raw_ids(sent: Any, *, secret: bytes) -> dict[str, Any]:
    """The known fields of what was sent, the ids of people replaced by their keys.

    {} when it was no object, or of a visitor who consented to nothing: then the reason alone is kept.
    """
    if not isinstance(sent, dict) or sent.get("consent") == "none":
        return {}
    event = {name: sent[name] for name in _KEPT_FIELDS if name in sent}
    anonymous_id, user_id = sent.get("anonymous_id"), sent.get("user_id")
    if anonymous_id or user_id:
        event["visitor_key"] = visitor_key(str(anonymous_id or user_id), secret=secret).hex()
    if user_id:
        event["user_key"] = visitor_key(str(user_id), secret=secret).hex()
    return event


def message_id_of(raw: bytes) -> str | None:
    """The id to name in the verdict, as far as there is one."""
    sent = decode_loosely(raw)
    found = sent.get("message_id") if isinstance(sent, dict) else None
    return found[:_GOT_CHARACTERS_MAX] if isinstance(found, str) else None


def decode_loosely(raw: bytes) -> Any:
    """Whatever JSON it is, or None."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _missing_field(field: str, path: str) -> EventRejectedError:
    where = f"{path}.{field}" if path else field
    steps = {
        "message_id": "make one id per event, keep it over retries: crypto.randomUUID()",
        "event": "name what happened, such as view_item",
        "item_id": "give every item the id it has in the catalogue",
    }
    return EventRejectedError(
        f"missing_{field}",
        wanted=f"the field {where}",
        got="an object without it",
        next_step=steps.get(field, "add the field"),
    )


def _value_at(raw: bytes, path: str) -> Any:
    found = decode_loosely(raw)
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        elif isinstance(found, dict):
            found = found.get(step)
        else:
            return None
    return found


def _length(raw: bytes, path: str) -> int:
    found = _value_at(raw, path)
    return len(found) if isinstance(found, list | str) else 0


def _shown(raw: bytes, path: str) -> str:
    """The offending value, shortened; of an id that names a person only type and length."""
    found = _value_at(raw, path)
    kind = type(found).__name__
    if path in _PERSONAL or not path:
        return f"{kind} of length {len(found)}" if isinstance(found, str | list) else kind
    shown = msgspec.json.encode(found).decode()
    return shown if len(shown) <= _GOT_CHARACTERS_MAX else f"{shown[:_GOT_CHARACTERS_MAX]}… ({len(shown)} characters)"
