"""One entry of the topic `merchandising`: a change of one document, and what the fold made of it."""

from typing import Annotated, Literal

import msgspec

DocumentId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
BODY_BYTES_MAX = 32_768
NOTHING = msgspec.Raw(b"null")
"""In place of a document: there is none."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lies on the log.

    Attributes:
        change_id: names the change; whoever made it waits for the fold to speak of it.
        kind, id: which document: `rule`, `placement`, `experiment`.
        edits: the version the editor looked at, 0 where there was nothing. Made on any other version, the change is
            refused by the fold, and so alike on every replica.
        who: as the editor says; the audit shows it.
        body: the whole new document as JSON; `NOTHING` deletes it.
        restores: the version whose body this is, when the change takes something back.
    """

    change_id: str
    kind: str
    id: DocumentId
    edits: Annotated[int, msgspec.Meta(ge=0)]
    who: Annotated[str, msgspec.Meta(max_length=128)]
    at_ms: int
    body: msgspec.Raw = NOTHING
    restores: int | None = None

    @property
    def deletes(self) -> bool:
        """Is there no document after it?"""
        return is_nothing(self.body)

    @property
    def key(self) -> bytes:
        """The entry's key on the bus."""
        return f"{self.kind}:{self.id}".encode()


class Applied(msgspec.Struct, frozen=True):
    """A change as the audit shows it: who, when, before, after; `NOTHING` where there was nothing."""

    kind: str
    id: str
    version: int
    who: str
    at_ms: int
    before: msgspec.Raw
    after: msgspec.Raw
    restores: int | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What the fold made of a change.

    Attributes:
        status: `applied`; `stale`: made on another version than the current; `refused`: no such kind, or a body that is
            no such document.
        version: the document's version now.
        reason: in words; empty when applied.
    """

    change_id: str
    status: Literal["applied", "stale", "refused"]
    version: int
    reason: str = ""


def is_nothing(raw: msgspec.Raw) -> bool:
    """Is it JSON's null?"""
    return bytes(raw) == b"null"


_decoder = msgspec.json.Decoder(Change)
_encoder = msgspec.json.Encoder()


def decode_change(payload: bytes) -> Change:
    """Decode one entry.

    Raises:
        msgspec.DecodeError: it is not a change.
    """
    return _decoder.decode(payload)


def encode_change(change: Change) -> bytes:
    """One JSON value."""
    return _encoder.encode(change)
