"""What a client reads when a request fails: RFC 9457 problem documents."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from starlette.responses import Response

from api.errors import ApiError, InvalidParameterError

PROBLEM_JSON = "application/problem+json"
_GOT_CHARS_MAX = 120
_MESSAGE = re.compile(r"^(?P<said>.*?)(?: - at `(?P<key_of>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with what was wanted, what came and what to do."""

    type: str
    title: str
    status: int
    detail: str
    wanted: str
    got: str
    next_step: str


def problem_of(error: ApiError, status: int) -> Problem:
    """The document for `error`."""
    return Problem(
        type=f"/problems/{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=status,
        detail=str(error),
        wanted=error.wanted,
        got=error.got,
        next_step=error.next_step,
    )


def problem_response(error: ApiError, status: int) -> Response:
    """The whole response, never cached; a 503 says when to come back."""
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = orjson.dumps(msgspec.to_builtins(problem_of(error, status)) | error.extensions)
    return Response(body, status_code=status, headers=headers, media_type=PROBLEM_JSON)


def explain_invalid(
    error: msgspec.ValidationError, document: Any, *, known: Mapping[str, str], next_step: str
) -> InvalidParameterError:
    """Turn msgspec's sentence into wanted and got. `known`: field name to what it wants, in words."""
    match = _MESSAGE.match(str(error))
    assert match is not None, "the expression matches any text"
    said, path = match["said"], match["path"] or ""
    if said.startswith("Object contains unknown field"):
        name = said.split("`")[1]
        return _invalid(f"a parameter of {', '.join(known)}", f"`{name[:_GOT_CHARS_MAX]}`", next_step)
    if said.startswith("Object missing required field"):
        name = said.split("`")[1]
        return _invalid(f"`{name}`, {known.get(name, 'which is required')}", "nothing of that name", next_step)
    field = path.lstrip(".").split("[")[0].split(".")[0]
    wanted = known.get(field) or said.removeprefix("Expected ").split(", got")[0]
    where = f"`{path.lstrip('.')}`: " if path else ""
    return _invalid(f"{where}{wanted}", shown(_value_at(document, path)), next_step)


def shown(value: Any) -> str:
    """A value as a message may hold it: JSON, cut short; of a list or an object only its size."""
    if isinstance(value, list | dict):
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace").decode()
    return text if len(text) <= _GOT_CHARS_MAX else f"{text[:_GOT_CHARS_MAX]}… ({len(text)} characters)"


def _invalid(wanted: str, got: str, next_step: str) -> InvalidParameterError:
    return InvalidParameterError("invalid_parameter", wanted=wanted, got=got, next_step=next_step)


def _value_at(document: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        try:
            document = document[name] if name else document[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return document
