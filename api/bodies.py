"""Read request bodies with a limit while they stream in."""

from starlette.requests import ClientDisconnect, Request

from api.errors import BadRequestError, BodyTooLargeError, UnsupportedMediaTypeError


async def read_body(request: Request, *, bytes_max: int, discarded_bytes_max: int) -> bytes:
    """The whole body.

    One that is too large is read on and thrown away up to `discarded_bytes_max`: a sender cut off while it
    still writes sees a reset connection instead of the 413 that says why.

    Raises:
        BodyTooLargeError: more than `bytes_max`.
        BadRequestError: the sender went away in the middle.
    """
    parts: list[bytes] = []
    size = 0
    announced = request.headers.get("content-length", "")
    try:
        if announced.isdigit() and int(announced) > bytes_max + discarded_bytes_max:
            raise _too_large(bytes_max, int(announced))
        async for part in request.stream():
            size += len(part)
            if size <= bytes_max:
                parts.append(part)
            elif size > bytes_max + discarded_bytes_max:
                break
    except ClientDisconnect as error:
        raise BadRequestError(
            "body_broken_off", wanted="a whole body", got=f"{size} bytes of it", next_step="send the request again"
        ) from error
    if size > bytes_max:
        raise _too_large(bytes_max, size)
    return b"".join(parts)


def media_type_of(request: Request) -> str:
    """The Content-Type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: Request, *allowed: str) -> str:
    """The request's media type, one of `allowed`.

    Raises:
        UnsupportedMediaTypeError: it is another one.
    """
    media_type = media_type_of(request)
    if media_type not in allowed:
        raise UnsupportedMediaTypeError(
            "unsupported_content_type",
            wanted=" or ".join(allowed),
            got=media_type[:64] or "no Content-Type",
            next_step="set the Content-Type header to one of these",
        )
    return media_type


def _too_large(bytes_max: int, size: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        "body_too_large",
        wanted=f"at most {bytes_max} bytes",
        got=f"{size} bytes" if size else "more",
        next_step="send it in several smaller requests",
        headers={"Connection": "close"},
    )
