"""The ways a request fails at the API's edge, and whose fault each is; `app.py` maps each to its status.

ApiError
├── BadRequestError             the sender's fault: the body is not what its Content-Type says
├── UnauthorizedError           the sender's fault: no key, or one that is not ours
├── ForbiddenError              the sender's fault: a key or an origin that may not do this
├── NotFoundError               the sender's fault: nothing is there
├── ConflictError               the sender's fault: it was made on what is no longer so; look again
├── BodyTooLargeError           the sender's fault: send less at once
├── UnsupportedMediaTypeError   the sender's fault: a Content-Type nobody asked for
├── InvalidParameterError       the sender's fault: a parameter or field out of its range
├── OverloadedError             our fault: too much at once; come back after Retry-After
├── UnavailableError            our fault: something behind us is down; come back after Retry-After
└── KeysFileError               an operator's matter: keys.toml cannot be read; stops the start
"""

from typing import Any


class ApiError(Exception):
    """Root of everything `api` raises on purpose: what was wanted, what came, what to do next."""

    def __init__(
        self,
        code: str,
        *,
        wanted: str,
        got: str,
        next_step: str,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: wanted {wanted}; got {got}; {next_step}")
        self.code = code
        self.wanted = wanted
        self.got = got
        self.next_step = next_step
        self.retry_after_s = retry_after_s
        self.headers = headers or {}
        self.extensions = extensions or {}


class BadRequestError(ApiError):
    """The body is not what its Content-Type says."""


class UnauthorizedError(ApiError):
    """No key, or one that is not this installation's."""


class ForbiddenError(ApiError):
    """A key or an origin that may not do this."""


class NotFoundError(ApiError):
    """Nothing is there."""


class ConflictError(ApiError):
    """Made on a version that is no longer the current one."""


class BodyTooLargeError(ApiError):
    """More bytes or lines than one request may carry."""


class UnsupportedMediaTypeError(ApiError):
    """A Content-Type nobody asked for."""


class InvalidParameterError(ApiError):
    """A parameter or field is missing, unknown or out of its range."""


class OverloadedError(ApiError):
    """Too many requests at once; this one was not begun."""


class UnavailableError(ApiError):
    """Something behind the API is down, and the answer cannot do without it."""


class KeysFileError(ApiError):
    """`keys.toml` cannot be trusted; the start is refused rather than new keys made over old ones."""
