"""`/docs`: the API's description for people, and forms to try it; every file is our own and comes from this server."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.errors import NotFoundError

PATH = "/docs"
_ASSETS = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
_PAGE_HEADERS = {
    "Cache-Control": "public, max-age=300",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def docs_routes(assets: Mapping[str, bytes]) -> list[Route]:
    """Build the routes. `assets`: file name to content, read once at start. Anybody may read them: they say nothing
    of this installation, and what they send needs a key.
    """

    async def page(_: Request) -> Response:
        return Response(assets["docs.html"], headers=_PAGE_HEADERS, media_type="text/html; charset=utf-8")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise NotFoundError(
                "not_found", wanted="a file of the docs", got=name[:64], next_step=f"open {PATH} instead"
            )
        headers = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
        return Response(assets[name], headers=headers, media_type=_ASSETS[name])

    return [
        Route(PATH, page, include_in_schema=False),
        Route(PATH + "/assets/{name}", asset, include_in_schema=False),
    ]
