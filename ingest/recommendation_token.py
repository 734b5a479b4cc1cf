"""The `recommendation_id`: a signed token that says what was served to whom, so that no click needs a join.

Bytes, big-endian: version (1), served at (6, Unix ms), model's time (6), rule set's version (4), placement and variant
(4 each, hashes of their names), visitor (2, of the key), nonce (4), then 2 an item (hash of its id), then 8 of a keyed
BLAKE2b over all before. In base64 without padding: at most 160 characters, and so 40 items. Version 2, of two lists
drafted into one, has the other variant (4) and a bit an item (5 bytes) after the nonce, and so at most 36 items.
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

DRAFTED_ITEMS_MAX = 36
"""The same of an answer that two lists were drafted into."""

_VERSION, _DRAFTED = 1, 2
_HEAD = struct.Struct(">B6s6sIII2sI")
_DRAFT = struct.Struct(">I5s")
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
        other_variant_code, teams: of an answer drafted from two variants' lists: the second one, and for each item
            which of them drafted it, 0 or 1; else 0 and empty.
    """

    served_ms: int
    model_ms: int
    rules: int
    placement_code: int
    variant_code: int
    visitor_code: bytes
    item_codes: tuple[int, ...]
    other_variant_code: int = 0
    teams: tuple[int, ...] = ()

    def is_of(self, visitor_key: bytes) -> bool:
        """Was it served to this visitor? One in 65,536 others passes too."""
        return self.visitor_code == visitor_key[:2]

    def holds(self, item_id: str) -> bool:
        """Was the item in the answer? One in 1,600 that was not passes too, with 40 items."""
        return item_code(item_id) in self.item_codes

    def team(self, item_id: str) -> int | None:
        """Which variant's list the item came from, 0 or 1; None where there was one list alone."""
        code = item_code(item_id)
        return self.teams[self.item_codes.index(code)] if self.teams and code in self.item_codes else None


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
        other_variant: str = "",
        teams: Sequence[int] = (),
    ) -> str:
        """A token of at most `CHARS_MAX` characters of A-Z a-z 0-9 - _. `teams`: as long as `item_ids`, or empty."""
        head = _HEAD.pack(
            _DRAFTED if teams else _VERSION,
            served_ms.to_bytes(6, "big"),
            model_ms.to_bytes(6, "big"),
            rules & 0xFFFFFFFF,
            name_code(placement),
            name_code(variant),
            visitor_key[:2],
            next(self._nonces) & 0xFFFFFFFF,
        )
        if teams:
            bits = sum(team << place for place, team in enumerate(teams[:DRAFTED_ITEMS_MAX]))
            head += _DRAFT.pack(name_code(other_variant), bits.to_bytes(5, "little"))
        codes = [item_code(item_id) for item_id in item_ids[: DRAFTED_ITEMS_MAX if teams else ITEMS_MAX]]
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
        if len(signed) < _HEAD.size or not compare_digest(mac, self._mac(signed)):
            raise TokenRefusedError("wanted a token signed by this installation")
        version, served, model, rules, placement, variant, visitor, _ = _HEAD.unpack_from(signed)
        if version not in (_VERSION, _DRAFTED):
            raise TokenRefusedError(f"wanted version {_VERSION} or {_DRAFTED}, got {version}")
        drafted = version == _DRAFTED
        items = signed[_HEAD.size + (_DRAFT.size if drafted else 0) :]
        codes = struct.unpack(f">{len(items) // 2}H", items)
        other, teams = _draft_of(signed, len(codes)) if drafted else (0, ())
        times_ms = (int.from_bytes(served, "big"), int.from_bytes(model, "big"))
        return Token(*times_ms, rules, placement, variant, visitor, codes, other, teams)

    def _mac(self, signed: bytes) -> bytes:
        return blake2b(signed, key=self._key, digest_size=_MAC_BYTES).digest()


def _draft_of(signed: bytes, items: int) -> tuple[int, tuple[int, ...]]:
    other, raw_bits = _DRAFT.unpack_from(signed, _HEAD.size)
    bits = int.from_bytes(raw_bits, "little")
    return other, tuple((bits >> place) & 1 for place in range(items))
