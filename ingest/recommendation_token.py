"""The `recommendation_id`: a signed token that says what was served to whom, so that no click needs a join.

Bytes, big-endian: version (1), served at (6, Unix ms), model's time (6), rule set's version (4), placement and variant
(4 each, hashes of their names), visitor (2, of the key), nonce (4), then 2 an item (hash of its id), then 8 of a keyed
BLAKE2b over all before. In base64 without padding: at most 160 characters, and so 40 items.
"""

import binascii
import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from itertools import count
from secrets import randbits
from typing import NamedTuple

CHARS_MAX = 160
ITEMS_MAX = 40
"""Of a longer answer the items behind these cannot be attributed; nobody sees that many at once."""

_VERSION = 1
_HEAD = struct.Struct(">B6s6sIII2sI")
_MAC_BYTES = 8


class TokenRefusedError(ValueError):
    """Not a token of this installation: forged, altered, or another kind of id."""


class Token(NamedTuple):
    """What an answer was.

    Attributes:
        served_ms, model_ms: Unix milliseconds; `model_ms` is 0 without a model.
        rules: version of the rule set.
        placement_code, variant_code: `name_code` of the names; 0: no variant.
        visitor_code: of the visitor's key.
        item_codes: `item_code` of each item, best first, at most `ITEMS_MAX`.
    """

    served_ms: int
    model_ms: int
    rules: int
    placement_code: int
    variant_code: int
    visitor_code: bytes
    item_codes: tuple[int, ...]

    def is_of(self, visitor_key: bytes) -> bool:
        """Was it served to this visitor? One in 65,536 others passes too."""
        return self.visitor_code == visitor_key[:2]

    def holds(self, item_id: str) -> bool:
        """Was the item in the answer? One in 1,600 that was not passes too, with 40 items."""
        return item_code(item_id) in self.item_codes


def name_code(name: str) -> int:
    """32 bits that stand for a placement's or a variant's name; 0 for no name."""
    return zlib.crc32(name.encode()) if name else 0


def item_code(item_id: str) -> int:
    """16 bits that stand for an item."""
    return zlib.crc32(item_id.encode()) & 0xFFFF


class TokenCodec:
    """Makes and reads tokens.

    Args:
        secret: the installation's; the signing key is derived from it, so that the two uses of it stay apart.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(b"recommendation-token", key=secret, digest_size=32).digest()
        # A counter from a random start: two answers of one millisecond differ, without a system call each.
        self._nonces = count(randbits(32))

    def make(
        self,
        item_ids: Sequence[str],
        *,
        served_ms: int,
        visitor_key: bytes,
        placement: str,
        variant: str = "",
        rules: int = 0,
        model_ms: int = 0,
    ) -> str:
        """A token of at most `CHARS_MAX` characters of A-Z a-z 0-9 - _."""
        head = _HEAD.pack(
            _VERSION,
            served_ms.to_bytes(6, "big"),
            model_ms.to_bytes(6, "big"),
            rules & 0xFFFFFFFF,
            name_code(placement),
            name_code(variant),
            visitor_key[:2],
            next(self._nonces) & 0xFFFFFFFF,
        )
        codes = [item_code(item_id) for item_id in item_ids[:ITEMS_MAX]]
        signed = head + struct.pack(f">{len(codes)}H", *codes)
        return urlsafe_b64encode(signed + self._mac(signed)).rstrip(b"=").decode()

    def read(self, token: str) -> Token:
        """What the token says.

        Raises:
            TokenRefusedError: it is not one of ours.
        """
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise TokenRefusedError("wanted base64") from error
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(signed) < _HEAD.size or len(signed) % 2 != _HEAD.size % 2 or not compare_digest(mac, self._mac(signed)):
            raise TokenRefusedError("wanted a token signed by this installation")
        version, served, model, rules, placement, variant, visitor, _ = _HEAD.unpack_from(signed)
        if version != _VERSION:
            raise TokenRefusedError(f"wanted version {_VERSION}, got {version}")
        codes = struct.unpack(f">{(len(signed) - _HEAD.size) // 2}H", signed[_HEAD.size :])
        return Token(
            int.from_bytes(served, "big"), int.from_bytes(model, "big"), rules, placement, variant, visitor, codes
        )

    def _mac(self, signed: bytes) -> bytes:
        return blake2b(signed, key=self._key, digest_size=_MAC_BYTES).digest()
