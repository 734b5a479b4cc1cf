"""Decode query strings and JSON bodies into checked structs; an error names the parameter, what it wants, what came."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from api.errors import BadRequestError, InvalidParameterError
from api.problems import explain_invalid

Query = TypeVar("Query", bound=msgspec.Struct)

_NEXT_STEP = "correct it and ask again; /openapi.json describes every parameter"


def query_from_string(
    query_string: bytes, kind: type[Query], *, known: Mapping[str, str], lists: frozenset[str] = frozenset()
) -> Query:
    """Decode a query string; the parameter `key` opened the door and is no part of the question.

    `lists`: parameters separated by commas, or repeated. Of any other one the last counts.

    Raises:
        InvalidParameterError: names the parameter, what it wants and what came.
    """
    document: dict[str, Any] = {}
    # A query string holds whatever bytes a client sends; what is not UTF-8 names no visitor or item, which is right.
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if name in lists:
            document.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name != "key":
            document[name] = value
    try:
        query = msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, document, known=known, next_step=_NEXT_STEP) from error
    if b"null" in query_string.lower():
        _refuse_null(query, document, known)
    return query


def _refuse_null(query: msgspec.Struct, document: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """A word of a query is read as nothing where nothing is allowed; who means nothing leaves the parameter out."""
    for name, value in document.items():
        if isinstance(value, str) and getattr(query, name) is None:
            raise InvalidParameterError(
                "invalid_parameter",
                wanted=f"`{name}`: {known.get(name, 'a value')}",
                got=f'"{value[:64]}"',
                next_step="leave the parameter out, or give it a value",
            )


def path_value(request: Request, name: str, *, characters_max: int) -> str:
    """A part of the path.

    Raises:
        InvalidParameterError: longer than it may be.
    """
    value: str = request.path_params[name]
    if len(value) > characters_max:
        raise InvalidParameterError(
            "invalid_parameter",
            wanted=f"`{name}`, 1 to {characters_max} characters",
            got=f"{len(value)} characters",
            next_step="send the id as it is in events and catalogue",
        )
    return value


def query_from_body(body: bytes, decoder: msgspec.json.Decoder[Query], *, known: Mapping[str, str]) -> Query:
    """Decode a JSON body.

    Raises:
        BadRequestError: it is not JSON.
        InvalidParameterError: names the field, what it wants and what came.
    """
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            # The first wrong value ends the decoding; what follows it may still be no JSON at all.
            raise explain_invalid(error, msgspec.json.decode(body), known=known, next_step=_NEXT_STEP) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(
            "broken_json", wanted="one JSON object", got=str(error), next_step="send valid JSON in UTF-8"
        ) from error
