"""A pack: the entries of one publish for one partition, as zstd-compressed JSON (docs/pack.schema.json)."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import zstandard

from ingest.bus.contract import Record
from ingest.bus.settings import BusSettings
from ingest.errors import BusError

PACK_VERSION = 1

# Brackets, field names, the base64 of a key of 16 bytes and a timestamp.
_ENTRY_OVERHEAD_BYTES = 56
# A frame that claims more than this was not written by us; settings allow packs up to 4 MiB.
_DECODED_BYTES_MAX = 16 * 1_048_576


class PackEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry on the wire: `k` key (base64), `t` event time in ms, `p` the payload itself, not a string of it."""

    k: bytes
    t: int
    p: msgspec.Raw


class Pack(msgspec.Struct, frozen=True):
    """What a message of a stream topic holds, before compression."""

    v: int
    e: list[PackEntry]


class NotAPackError(BusError):
    """The message was not written by this codec."""


class UnfitRecordError(BusError):
    """The sender's record can be in no pack: too large, or its payload is no JSON value."""


class PackCodec:
    """Encodes and decodes packs; not for use from two threads at once."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Pack)

    def encode(self, records: Iterable[Record]) -> bytes:
        """One pack of all `records`, whose payloads are JSON values."""
        entries = [PackEntry(r.key, r.event_time_ms, msgspec.Raw(r.payload or b"null")) for r in records]
        return self._compressor.compress(self._encoder.encode(Pack(PACK_VERSION, entries)))

    def decode(self, message: bytes) -> list[PackEntry]:
        """The entries of a pack, in order, at least one.

        Raises:
            NotAPackError: `message` is something else.
        """
        try:
            if zstandard.frame_content_size(message) > _DECODED_BYTES_MAX:
                raise NotAPackError(f"a pack holds at most {_DECODED_BYTES_MAX} bytes; this frame claims more")
            pack = self._decoder.decode(self._decompressor.decompress(message, max_output_size=_DECODED_BYTES_MAX))
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise NotAPackError(f"wanted a zstd frame of a pack (docs/pack.schema.json), got: {error}") from error
        if pack.v != PACK_VERSION or not pack.e:
            raise NotAPackError(
                f"wanted version {PACK_VERSION} with entries, got version {pack.v}, {len(pack.e)} entries"
            )
        return pack.e


_any_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(msgspec.Raw)


def fitness(record: Record, *, bytes_max: int) -> UnfitRecordError | None:
    """Why `record` can be in no pack; None when it can.

    Checked before packing, since one broken payload would take its whole pack with it.
    """
    if record.payload is None:
        return UnfitRecordError(
            "a payload of None deletes a key and belongs in a table topic; send JSON `null` instead"
        )
    size = len(record.payload) + len(record.key)
    if size > bytes_max:
        return UnfitRecordError(f"a record takes at most {bytes_max} bytes, got {size}; raise bus.pack_bytes_max")
    try:
        _any_json.decode(record.payload)
    except msgspec.DecodeError as error:
        return UnfitRecordError(f"a payload is one JSON value, got: {error}")
    return None


def split_into_packs(records: Sequence[Record], settings: BusSettings) -> list[slice]:
    """Cut `records`, in order, where a pack would pass its limits; each slice is one pack."""
    cuts: list[slice] = []
    begin = size = 0
    for i, record in enumerate(records):
        size_one = len(record.payload or b"") + _ENTRY_OVERHEAD_BYTES
        full = i - begin >= settings.pack_entries_max or size + size_one > settings.pack_bytes_max
        if full and i > begin:
            cuts.append(slice(begin, i))
            begin, size = i, 0
        size += size_one
    if begin < len(records):
        cuts.append(slice(begin, len(records)))
    return cuts
