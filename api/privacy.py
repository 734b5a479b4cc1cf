"""What a person may ask of their data: a copy of it, and that it be forgotten."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from api.errors import UnavailableError
from feature_store.erasure import Erasure
from feature_store.errors import FeatureStoreError
from ingest.errors import BusError
from ingest.identity import visitor_key
from ingest.topics import ALL_TOPICS

READ_MS = 2_000.0


class Export(msgspec.Struct, frozen=True):
    """What `GET /v1/visitors/{visitor_id}` answers: all that the online store holds of them.

    `browsers`: how many are known to be this user's; their ids are not known, only hashes of them.
    `records`: one for the id asked for and one for each of these browsers; `events` oldest first.
    """

    exported_at: str
    is_user: bool
    browsers: int
    records: tuple[dict[str, Any], ...]


class Receipt(msgspec.Struct, frozen=True):
    """What `DELETE /v1/visitors/{visitor_id}` answers.

    `keys_erased`: 1 for a browser, 1 and one for each browser of a user. `browsers_beyond`: the user had more browsers
    than are remembered; erase these by their own ids. `retention_ends`: by topic, when the bus drops the last that it
    still holds of them, under a keyed hash and hidden from every reader. `gone_by`: the latest of these.
    """

    receipt_id: str
    erased_at: str
    keys_erased: int
    records_deleted: int
    browsers_beyond: bool
    retention_ends: dict[str, str]
    gone_by: str


class Person(Protocol):
    """What the composition root hands in: reads and erases a visitor by key."""

    async def export(self, key: bytes, /, *, deadline_ms: float) -> tuple[bool, list[dict[str, Any]]]:
        """Is it a user's key, and what is stored, record by record."""
        ...

    async def erase(self, key: bytes, /, *, now_ms: int) -> Erasure:
        """See `feature_store.erasure.erase_visitor`."""
        ...


class Privacy:
    """Answers both questions.

    Args:
        secret: keys the hash; the raw id goes no further.
    """

    def __init__(self, person: Person, *, secret: bytes, retry_after_s: int) -> None:
        self._person = person
        self._secret = secret
        self._retry_after_s = retry_after_s

    async def export(self, visitor: str) -> Export:
        """All that the online store holds of them, and of a user's browsers.

        Raises:
            UnavailableError: the store does not answer.
        """
        try:
            is_user, records = await self._person.export(self._key(visitor), deadline_ms=READ_MS)
        except FeatureStoreError as error:
            raise self._unavailable(error) from error
        return Export(_told(time.time_ns() // 1_000_000), is_user, len(records) - 1 if is_user else 0, tuple(records))

    async def erase(self, visitor: str) -> Receipt:
        """Erase them, a user with all their browsers.

        Raises:
            UnavailableError: bus or store does not answer; some may be erased, and asking again erases the rest.
        """
        try:
            erasure = await self._person.erase(self._key(visitor), now_ms=time.time_ns() // 1_000_000)
        except (FeatureStoreError, BusError) as error:
            raise self._unavailable(error) from error
        ends_ms = {
            topic.name: erasure.erased_at_ms + topic.retention_ms
            for topic in ALL_TOPICS
            if topic.key == "visitor" and topic.retention_ms is not None
        }
        return Receipt(
            receipt_id=secrets.token_urlsafe(16),
            erased_at=_told(erasure.erased_at_ms),
            keys_erased=len(erasure.visitor_keys),
            records_deleted=erasure.records_deleted,
            browsers_beyond=erasure.browsers_beyond,
            retention_ends={name: _told(at_ms) for name, at_ms in ends_ms.items()},
            gone_by=_told(max(ends_ms.values())),
        )

    def _key(self, visitor: str) -> bytes:
        return visitor_key(visitor, secret=self._secret)

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            "unavailable",
            wanted="bus and online store",
            got=str(error),
            next_step="ask again after Retry-After; what was done already stays done",
            retry_after_s=self._retry_after_s,
        )


def _told(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
