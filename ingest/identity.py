"""Turn raw visitor ids into keys; nothing past the collector and the API's edge sees a raw id."""

from hashlib import blake2b

VISITOR_KEY_BYTES = 16


def visitor_key(raw_id: str, *, secret: bytes) -> bytes:
    """16 bytes of keyed BLAKE2b over `raw_id` (UTF-8). `secret`: 16 to 64 bytes, per installation."""
    return blake2b(raw_id.encode(), key=secret, digest_size=VISITOR_KEY_BYTES).digest()
