"""`/v1/merchandising`, `/v1/rules`, `/v1/experiments`: what the merchandiser decides, in and out."""

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from api.bodies import read_body, require_media_type
from api.experiment_reports import ExperimentReports
from api.merchandising import Edit, Merchandising, MerchandisingFile, Undo, Who
from api.queries import query_from_body, query_from_string

PATH = "/v1/merchandising"
FILE_BYTES_MAX = 8 * 1024 * 1024
_EDIT_BYTES_MAX = 65_536

KNOWN_EDIT = {
    "id": "1 to 64 of A-Z a-z 0-9 . _ -",
    "document": "the whole document",
    "edits": "the version you looked at, a whole number; 0 for a new document",
    "who": "a text of at most 128 characters",
}
KNOWN_UNDO = {
    "edits": "the current version, a whole number above 0",
    "to": "the version to go back to",
    "who": KNOWN_EDIT["who"],
}
KNOWN_REMOVAL = {"edits": KNOWN_UNDO["edits"], "who": KNOWN_EDIT["who"]}
KNOWN_FILE = dict.fromkeys(("rules", "placements", "experiments"), "an object of documents by id")


class Removal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a document is deleted: `edits` is the version looked at."""

    edits: Annotated[int, msgspec.Meta(ge=1)]
    who: Who = ""


def merchandising_routes(merchandising: Merchandising, reports: ExperimentReports, gate: Gate) -> list[Route]:
    """Build the routes; all of them want the secret key."""

    async def export(_: Request) -> Response:
        return _json(merchandising.export())

    async def audit(_: Request) -> Response:
        return _json(merchandising.audit())

    async def import_file(request: Request) -> Response:
        query = query_from_string(request.scope["query_string"], _Importing, known={"who": KNOWN_EDIT["who"]})
        file = await _body(request, _FILE, KNOWN_FILE, bytes_max=FILE_BYTES_MAX)
        return _json(await merchandising.import_file(file, who=query.who))

    async def report(request: Request) -> Response:
        return _json(await reports.report(request.path_params["document_id"]))

    routes = [
        Route("/v1/experiments/{document_id}/report", guarded(gate, "secret", report), methods=["GET"]),
        Route(PATH, guarded(gate, "secret", export), methods=["GET"]),
        Route(PATH, guarded(gate, "secret", import_file), methods=["PUT"]),
        Route(PATH + "/audit", guarded(gate, "secret", audit), methods=["GET"]),
    ]
    for kind in merchandising.kinds:
        routes += _routes_of(kind, merchandising, gate)
    return routes


class _Importing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    who: Who = ""


def _routes_of(kind: str, merchandising: Merchandising, gate: Gate) -> list[Route]:
    path = f"/v1/{kind}s"

    async def listed(_: Request) -> Response:
        return _json(merchandising.all(kind))

    async def posted(request: Request) -> Response:
        edit = await _body(request, _EDIT, KNOWN_EDIT)
        return _json(await merchandising.put(kind, edit))

    async def got(request: Request) -> Response:
        return _json(merchandising.get(kind, request.path_params["document_id"]))

    async def removed(request: Request) -> Response:
        query = query_from_string(request.scope["query_string"], Removal, known=KNOWN_REMOVAL)
        document_id = request.path_params["document_id"]
        return _json(await merchandising.remove(kind, document_id, edits=query.edits, who=query.who))

    async def history(request: Request) -> Response:
        return _json(merchandising.history(kind, request.path_params["document_id"]))

    async def undone(request: Request) -> Response:
        undo = await _body(request, _UNDO, KNOWN_UNDO)
        return _json(await merchandising.undo(kind, request.path_params["document_id"], undo))

    one = path + "/{document_id}"
    # The list of placements has those of the settings too: `api.routes.placements`.
    listing = [] if kind == "placement" else [Route(path, guarded(gate, "secret", listed), methods=["GET"])]
    return [
        *listing,
        Route(path, guarded(gate, "secret", posted), methods=["POST"]),
        Route(one, guarded(gate, "secret", got), methods=["GET"]),
        Route(one, guarded(gate, "secret", removed), methods=["DELETE"]),
        Route(one + "/history", guarded(gate, "secret", history), methods=["GET"]),
        Route(one + "/undo", guarded(gate, "secret", undone), methods=["POST"]),
    ]


_EDIT = msgspec.json.Decoder(Edit)
_UNDO = msgspec.json.Decoder(Undo)
_FILE = msgspec.json.Decoder(MerchandisingFile)


async def _body(request: Request, decoder: Any, known: dict[str, str], *, bytes_max: int = _EDIT_BYTES_MAX) -> Any:
    require_media_type(request, "application/json")
    body = await read_body(request, bytes_max=bytes_max, discarded_bytes_max=bytes_max)
    return query_from_body(body, decoder, known=known)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), headers={"Cache-Control": "no-store"}, media_type="application/json")
