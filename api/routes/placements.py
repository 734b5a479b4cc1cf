"""`GET /v1/placements`: where suggestions may stand, and what each place asks for."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth import Gate, guarded
from recommender.placements import Placement, PlacementName, Placements

PATH = "/v1/placements"


class NamedPlacement(Placement, frozen=True):
    """One place; what is left out is the default.

    `version`: of the merchandiser's decision, as an edit names it; 0: the settings'.
    """

    placement: PlacementName = ""
    version: int = 0


class PlacementList(msgspec.Struct, frozen=True):
    """Every place."""

    placements: tuple[NamedPlacement, ...]


def placements_route(placements: Placements, version_of: Callable[[str], int], gate: Gate) -> Route:
    """Build the route around the table. `version_of`: of the decision about a place, 0 for none."""

    async def list_placements(_: Request) -> Response:
        named = [
            NamedPlacement(**msgspec.structs.asdict(placement), placement=name, version=version_of(name))
            for name in placements
            if (placement := placements.get(name)) is not None
        ]
        body = msgspec.json.encode(PlacementList(tuple(named)))
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    return Route(PATH, guarded(gate, "secret", list_placements), methods=["GET"])
