"""`/snippet.js`: what a shop's pages load; anybody may."""

from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def snippet_route(script: bytes, *, max_age_s: int) -> Route:
    """Build the route around the script's bytes, read once at start."""
    etag = f'"{blake2b(script, digest_size=12).hexdigest()}"'
    headers = {
        "ETag": etag,
        "Cache-Control": f"public, max-age={max_age_s}",
        # A page that asks for integrity, or imports it as a module, needs this; the script holds no secret.
        "Access-Control-Allow-Origin": "*",
        "X-Content-Type-Options": "nosniff",
    }

    async def snippet(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(script, headers=headers, media_type="text/javascript; charset=utf-8")

    return Route("/snippet.js", snippet)
