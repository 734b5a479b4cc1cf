"""`POST /v1/visitors/keys`: the keys of the shop's own visitors, so that it knows whom an engagement means."""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.queries import query_from_body
from ingest.events import Id
from ingest.identity import visitor_key

PATH = "/v1/visitors/keys"
IDS_MAX = 10_000
KNOWN = {"ids": f"an array of 1 to {IDS_MAX} anonymous ids or user ids, each of 1 to 128 characters"}
_BYTES_MAX = 4 * 1024 * 1024


class VisitorIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Anonymous ids or user ids, as in their events."""

    ids: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=IDS_MAX)]


class VisitorKeys(msgspec.Struct, frozen=True):
    """One key for each id, in the same order: 32 hex digits."""

    keys: tuple[str, ...]


def visitor_keys_route(secret: bytes, gate: Gate) -> Route:
    """Build the route; the secret key opens it. `secret`: keys the hash."""

    async def keys(request: Request) -> Response:
        require_media_type(request, "application/json")
        body = await read_body(request, bytes_max=_BYTES_MAX, discarded_bytes_max=_BYTES_MAX)
        asked = query_from_body(body, _decoder, known=KNOWN)
        answer = VisitorKeys(tuple(visitor_key(raw_id, secret=secret).hex() for raw_id in asked.ids))
        return Response(
            msgspec.json.encode(answer), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )

    return Route(PATH, guarded(gate, "secret", keys), methods=["POST"])


_decoder = msgspec.json.Decoder(VisitorIds)
