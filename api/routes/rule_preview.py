"""`POST /v1/rules/preview`: a page before and after a change of rules."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.edge import FIRST_BYTE
from api.queries import query_from_body
from api.rule_preview import CHANGES_MAX, PreviewQuery, RulePreview

PATH = "/v1/rules/preview"
KNOWN = {
    "query": "an object, as the body of /v1/recommendations",
    "rules": f"an array of at most {CHANGES_MAX} rules",
    "without": f"an array of at most {CHANGES_MAX} ids of rules",
    "at_ms": "Unix milliseconds",
}
_BYTES_MAX = 1024 * 1024


def rule_preview_route(preview: RulePreview, gate: Gate) -> Route:
    """Build the route; the secret key opens it."""

    async def look(request: Request) -> Response:
        require_media_type(request, "application/json")
        body = await read_body(request, bytes_max=_BYTES_MAX, discarded_bytes_max=_BYTES_MAX)
        asked = query_from_body(body, _decoder, known=KNOWN)
        answer = await preview.look(asked, first_byte_s=request.scope[FIRST_BYTE])
        return Response(
            msgspec.json.encode(answer), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )

    return Route(PATH, guarded(gate, "secret", look), methods=["POST"])


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(PreviewQuery)
