"""`POST /v1/rules/preview`, `/v1/rules/forecast`: a page before and after a change of rules, and what it would earn."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.edge import FIRST_BYTE
from api.queries import query_from_body
from api.rule_forecast import PAGES_MAX, ForecastQuery, RuleForecast
from api.rule_preview import CHANGES_MAX, PreviewQuery, RulePreview

PATH = "/v1/rules/preview"
KNOWN = {
    "query": "an object, as the body of /v1/recommendations",
    "rules": f"an array of at most {CHANGES_MAX} rules",
    "without": f"an array of at most {CHANGES_MAX} ids of rules",
    "at_ms": "Unix milliseconds",
}
FORECAST_PATH = "/v1/rules/forecast"
KNOWN_FORECAST = {
    "placement": "where on the page, 1 to 64 characters",
    "rules": KNOWN["rules"],
    "without": KNOWN["without"],
    "pages": f"a whole number of 10 to {PAGES_MAX}",
}
_BYTES_MAX = 1024 * 1024


def rule_preview_routes(preview: RulePreview, forecast: RuleForecast, gate: Gate) -> list[Route]:
    """Build the routes; the secret key opens them."""

    async def look(request: Request) -> Response:
        asked = query_from_body(await _body(request), _decoder, known=KNOWN)
        return _json(await preview.look(asked, first_byte_s=request.scope[FIRST_BYTE]))

    async def foresee(request: Request) -> Response:
        asked = query_from_body(await _body(request), _forecast_decoder, known=KNOWN_FORECAST)
        return _json(await forecast.forecast(asked))

    return [
        Route(PATH, guarded(gate, "secret", look), methods=["POST"]),
        Route(FORECAST_PATH, guarded(gate, "secret", foresee), methods=["POST"]),
    ]


async def _body(request: Request) -> bytes:
    require_media_type(request, "application/json")
    return await read_body(request, bytes_max=_BYTES_MAX, discarded_bytes_max=_BYTES_MAX)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), headers={"Cache-Control": "no-store"}, media_type="application/json")


_forecast_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ForecastQuery)
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(PreviewQuery)
