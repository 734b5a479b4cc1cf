"""Who may call what: two keys, compared in constant time, and a cookie for the dashboard."""

import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Literal
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from api.errors import ForbiddenError, UnauthorizedError
from api.keys import Keys

Role = Literal["write", "secret"]
Endpoint = Callable[[Request], Awaitable[Response]]

SESSION_COOKIE = "afterclick_session"
_HOW = "send it as `Authorization: Bearer …`, `X-Afterclick-Key: …` or `?key=…`; it is in keys.toml of the data folder"


class Gate:
    """Tells whose key a request carries. Holds the keys' bytes, so that no comparison encodes them again."""

    def __init__(self, keys: Keys) -> None:
        self._write = keys.write_key.encode()
        self._secret = keys.secret_key.encode()
        # Not the key itself: a stolen cookie opens the dashboard, never the API. A new secret key ends every session.
        self._session = blake2b(b"dashboard", key=self._secret[:64], digest_size=24).hexdigest()

    def role_of(self, key: bytes) -> Role | None:
        """Whose key it is; None when it is not ours. Both are always compared."""
        is_secret = hmac.compare_digest(key, self._secret)
        is_write = hmac.compare_digest(key, self._write)
        return "secret" if is_secret else "write" if is_write else None

    def require(self, request: Request, role: Role) -> Role:
        """The role the request's key has; the secret key may do whatever the write key may.

        Raises:
            UnauthorizedError: no key, or one that is not ours.
            ForbiddenError: the write key where the secret key is wanted.
        """
        key = key_of(request)
        found = self.role_of(key) if key else None
        if found is None:
            raise _unauthorized(role, "a key that is not this installation's" if key else "no key")
        if role == "secret" and found == "write":
            raise ForbiddenError(
                "secret_key_required",
                wanted="the secret key",
                got="the write key, which may only send events and ask for suggestions",
                next_step="call this from your server with the secret key; never put that one into a page",
            )
        return found

    def opens_dashboard(self, request: Request) -> bool:
        """Does the request carry the cookie of a login, or the secret key in a header?"""
        cookie = request.cookies.get(SESSION_COOKIE, "")
        if cookie and hmac.compare_digest(cookie.encode(), self._session.encode()):
            return True
        key = key_of(request)
        return bool(key) and self.role_of(key) == "secret"

    def open_session(self, response: Response, *, max_age_s: int, secure: bool) -> None:
        """Set the cookie on `response`."""
        response.set_cookie(
            SESSION_COOKIE,
            self._session,
            max_age=max_age_s,
            path="/dashboard",
            httponly=True,
            samesite="strict",
            secure=secure,
        )


def guarded(gate: Gate, role: Role, endpoint: Endpoint) -> Endpoint:
    """`endpoint`, for those who carry a key of `role`."""

    async def guarded_endpoint(request: Request) -> Response:
        gate.require(request, role)
        return await endpoint(request)

    return guarded_endpoint


def key_of(request: Request) -> bytes:
    """The key a request carries, empty when none. The query is read last: only a beacon needs it there."""
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            if value[:7].lower() == b"bearer ":
                return bytes(value[7:].strip())
            if value[:6].lower() == b"basic ":
                return _basic_user(value[6:])
        if name == b"x-afterclick-key":
            return bytes(value.strip())
    query: bytes = request.scope["query_string"]
    if b"key=" not in query:
        return b""
    # As text: over bytes `parse_qs` raises for what is not ASCII.
    found = parse_qs(query.decode("latin-1"), errors="replace").get("key", [""])[0]
    return found.encode("utf-8", "replace")


def _basic_user(encoded: bytes) -> bytes:
    """The user of HTTP Basic: where Segment's libraries put the write key, with an empty password."""
    try:
        return b64decode(encoded.strip(), validate=True).partition(b":")[0]
    except ValueError:
        return b""


def _unauthorized(role: Role, got: str) -> UnauthorizedError:
    wanted = "the secret key" if role == "secret" else "the write key or the secret key"
    headers = {"WWW-Authenticate": 'Bearer realm="afterclick"'}
    return UnauthorizedError("unauthorized", wanted=wanted, got=got, next_step=_HOW, headers=headers)
