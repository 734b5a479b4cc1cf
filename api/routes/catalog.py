"""`POST /v1/catalog`, `GET /v1/catalog/{item_id}`: product facts in, and out again."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.catalog_table import CatalogTable
from api.catalog_upsert import Upsert
from api.errors import NotFoundError

PATH = "/v1/catalog"
LINES_TYPES = ("application/x-ndjson", "application/jsonl", "application/ndjson")


def catalog_routes(
    upsert: Upsert, table: CatalogTable, gate: Gate, *, bytes_max: int, discarded_bytes_max: int
) -> list[Route]:
    """Build the routes around `upsert` and `table`."""

    async def post_catalog(request: Request) -> Response:
        media_type = require_media_type(request, *LINES_TYPES, "application/json")
        body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=discarded_bytes_max)
        answer = await upsert(body, lines=media_type in LINES_TYPES)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def get_product(request: Request) -> Response:
        item_id = request.path_params["item_id"]
        product = table.get(item_id)
        if product is None:
            raise NotFoundError(
                "unknown_item",
                wanted="an item of the catalogue",
                got=item_id[:64],
                next_step="send it to POST /v1/catalog first",
            )
        return Response(
            msgspec.json.encode(product), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )

    return [
        Route(PATH, guarded(gate, "secret", post_catalog), methods=["POST"]),
        Route(PATH + "/{item_id}", guarded(gate, "secret", get_product), methods=["GET"]),
    ]
