"""Let the shop's pages call us from a browser: an allow-list of origins, on the paths a page needs and no others."""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ForbiddenError
from api.problems import problem_response

CORS_PATHS = (
    "/v1/events",
    "/v1/recommendations",
    "/v1/recommendations/",
    "/v1/rerank",
    "/v1/trending",
    "/v1/items/",
    "/v1/batch",
    "/v1/track",
    "/v1/page",
    "/v1/screen",
    "/v1/identify",
    "/v1/alias",
)
"""Exact, or (with a slash at the end) everything below."""

_METHODS = "GET, POST, OPTIONS"
_HEADERS = "Authorization, Content-Type, X-Afterclick-Key"
_EXPOSED = b"Retry-After"


class Cors:
    """ASGI middleware. Answers preflights; adds the headers to whatever else is answered, errors too.

    Args:
        origins: those allowed; `*` allows every one.
    """

    def __init__(self, app: ASGIApp, *, origins: frozenset[str], preflight_max_age_s: int) -> None:
        self._app = app
        self._origins = origins
        self._any = "*" in origins
        self._max_age = str(preflight_max_age_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = self._any or origin.decode("latin-1") in self._origins
        if scope["method"] == "OPTIONS":
            await self._preflight(origin.decode("latin-1"), allowed)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"vary", b"Origin")]
                if allowed:
                    headers.append((b"access-control-allow-origin", origin))
                    headers.append((b"access-control-expose-headers", _EXPOSED))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _preflight(self, origin: str, allowed: bool) -> Response:
        if not allowed:
            refusal = ForbiddenError(
                "origin_not_allowed",
                wanted=f"an origin of api.allowed_origins ({', '.join(sorted(self._origins)) or 'it is empty'})",
                got=origin[:128],
                next_step=f'add "{origin[:128]}" to allowed_origins in the section [api] of the settings',
                headers={"Vary": "Origin"},
            )
            return problem_response(refusal, 403)
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": self._max_age,
            "Vary": "Origin",
        }
        return Response(status_code=204, headers=headers)


def _is_open(path: str) -> bool:
    return any(path == open_path or (open_path[-1] == "/" and path.startswith(open_path)) for open_path in CORS_PATHS)
