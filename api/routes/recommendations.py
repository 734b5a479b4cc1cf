"""`GET|POST /v1/recommendations`: what this visitor should see here, now."""

from collections.abc import Awaitable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.edge import FIRST_BYTE
from api.errors import BadRequestError
from api.problems import explain_invalid
from api.suggestions import RecommendationQuery, Recommendations
from recommender.requests import BUDGET_MS_MAX, N_MAX

PATH = "/v1/recommendations"

KNOWN = {
    "visitor": "the visitor's anonymous id, 1 to 128 characters",
    "placement": "where on the page, 1 to 64 characters",
    "n": f"a whole number of 1 to {N_MAX}",
    "item": "the page's own item id, 1 to 64 characters",
    "cart": "at most 200 item ids (in a query: separated by commas, or the parameter repeated)",
    "exclude": "at most 1000 item ids (in a query: separated by commas, or the parameter repeated)",
    "budget_ms": f"a whole number of milliseconds, 1 to {BUDGET_MS_MAX}",
    "explain": "true or false",
    "return_properties": "true or false",
    "included_properties": "names of product properties (in a query: separated by commas)",
}
"""What each parameter wants, in words; the only ones there are."""

_LISTS = frozenset({"cart", "exclude", "included_properties"})
_HEADERS = {"Cache-Control": "private, no-store"}
_NEXT_STEP = "correct it and ask again; /openapi.json describes every parameter"
_decoder = msgspec.json.Decoder(RecommendationQuery)


class Answer(Protocol):
    """Makes the answer."""

    def __call__(self, query: RecommendationQuery, *, first_byte_s: float) -> Awaitable[Recommendations]:
        """`first_byte_s`: `time.perf_counter` when the request reached us; its budget counts from there."""
        ...


def recommendations_route(answer: Answer, gate: Gate, *, bytes_max: int, discarded_bytes_max: int) -> Route:
    """Build the route around `answer`."""

    async def recommend(request: Request) -> Response:
        if request.method == "POST":
            require_media_type(request, "application/json", "text/plain")
            body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
            query = query_from_body(body)
        else:
            query = query_from_string(request.scope["query_string"])
        recommendations = await answer(query, first_byte_s=request.scope[FIRST_BYTE])
        return Response(encode(recommendations), headers=_HEADERS, media_type="application/json")

    return Route(PATH, guarded(gate, "write", recommend), methods=["GET", "POST"])


def query_from_string(query_string: bytes) -> RecommendationQuery:
    """Decode a query string; the parameter `key` is not part of the question.

    Raises:
        InvalidParameterError: names the parameter, what it wants and what came.
    """
    document: dict[str, Any] = {}
    # A query string holds whatever bytes a client sends; what is not UTF-8 matches no visitor, which is right.
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if name == "key":
            continue
        if name in _LISTS:
            document.setdefault(name, []).extend(part for part in value.split(",") if part)
        else:
            document[name] = value
    try:
        return msgspec.convert(document, RecommendationQuery, strict=False)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, document, known=KNOWN, next_step=_NEXT_STEP) from error


def query_from_body(body: bytes) -> RecommendationQuery:
    """Decode a JSON body.

    Raises:
        BadRequestError: it is not JSON.
        InvalidParameterError: names the parameter, what it wants and what came.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, orjson.loads(body), known=KNOWN, next_step=_NEXT_STEP) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(
            "broken_json", wanted="one JSON object", got=str(error), next_step="send valid JSON in UTF-8"
        ) from error


def encode(recommendations: Recommendations) -> bytes:
    """The JSON of an answer. Scores are cut to four digits: more is noise, and a quarter of the bytes."""
    return orjson.dumps(
        {
            "recommendation_id": recommendations.recommendation_id,
            "placement": recommendations.placement,
            "items": [_item(item) for item in recommendations.items],
            "served_by": recommendations.served_by,
            "degraded": recommendations.degraded,
            "model_version": recommendations.model_version,
            "experiment": msgspec.to_builtins(recommendations.experiment),
            "took_ms": recommendations.took_ms,
        }
    )


def _item(item: Any) -> dict[str, Any]:
    encoded: dict[str, Any] = {"id": item.id, "score": round(item.score, 4)}
    if item.reasons:
        encoded["reasons"] = [
            {"because": reason.because, "item": reason.item} if reason.item else {"because": reason.because}
            for reason in item.reasons
        ]
    if item.properties is not None:
        encoded["properties"] = item.properties
    return encoded
