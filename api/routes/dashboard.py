"""`/dashboard`: what the merchandiser looks at, and the door in front of it."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api.auth import Gate, key_of
from api.bodies import read_body
from api.dashboard import DashboardData
from api.errors import NotFoundError, UnauthorizedError

PATH = "/dashboard"

_FORM_BYTES_MAX = 1_024
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_MESSAGE = b"{{message}}"
_REFUSED = b'<p class="refused" role="alert">That is not the secret key of this installation.</p>'
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'self'; img-src * data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def dashboard_routes(
    data: Callable[[], Awaitable[DashboardData]], gate: Gate, assets: Mapping[str, bytes], *, session_max_age_s: int
) -> list[Route]:
    """Build the routes. `assets`: file name to content, read once at start."""

    async def page(request: Request) -> Response:
        if gate.role_of(key_of(request)) == "secret":
            # Out of the address bar, the history and the next Referer at once.
            return _let_in(request, RedirectResponse(PATH, status_code=303, headers=_HEADERS))
        if not gate.opens_dashboard(request):
            return _html(assets["login.html"].replace(_MESSAGE, b""), 401)
        return _html(assets["dashboard.html"])

    async def login(request: Request) -> Response:
        body = await read_body(request, bytes_max=_FORM_BYTES_MAX, discarded_bytes_max=_FORM_BYTES_MAX)
        form = parse_qs(body.decode("latin-1"), errors="replace")
        key = form.get("key", [""])[0].strip().encode("utf-8", "replace")
        if gate.role_of(key) != "secret":
            return _html(assets["login.html"].replace(_MESSAGE, _REFUSED), 401)
        return _let_in(request, RedirectResponse(PATH, status_code=303, headers=_HEADERS))

    async def numbers(request: Request) -> Response:
        if not gate.opens_dashboard(request):
            raise UnauthorizedError(
                "unauthorized", wanted="a login or the secret key", got="neither", next_step=f"log in at {PATH}"
            )
        headers = {"Cache-Control": "private, no-store"}
        return Response(msgspec.json.encode(await data()), headers=headers, media_type="application/json")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        kind = name.rpartition(".")[2]
        if name not in assets or kind not in _TYPES:
            raise NotFoundError(
                "not_found", wanted="a file of the dashboard", got=name[:64], next_step=f"open {PATH} instead"
            )
        headers = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
        return Response(assets[name], headers=headers, media_type=_TYPES[kind])

    def _let_in(request: Request, response: Response) -> Response:
        gate.open_session(response, max_age_s=session_max_age_s, secure=_is_encrypted(request))
        return response

    return [
        # Pages for people, not part of the API's description.
        Route(PATH, page, include_in_schema=False),
        Route(PATH + "/login", login, methods=["POST"], include_in_schema=False),
        Route(PATH + "/data", numbers),
        Route(PATH + "/assets/{name}", asset, include_in_schema=False),
    ]


def _is_encrypted(request: Request) -> bool:
    """TLS ends here or at a proxy that says so; a forged header only makes the cookie stricter."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))


def _html(body: bytes, status: int = 200) -> Response:
    return Response(body, status_code=status, headers=_HEADERS, media_type="text/html; charset=utf-8")
