"""The archive empties exactly those events that every reader hides."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ingest.archive_erasure import NOBODY, emptied, is_erased
from ingest.archive_rows import ArchivedEvent, events_of, rows_of
from ingest.bus.contract import Delivery, Entry, Position
from ingest.dedup import Deduplicated, without_erased
from ingest.events import Event, Item, encode_event
from ingest.tombstones import Tombstone, Tombstones

KEYS = [f"{n:032x}" for n in range(1, 6)]
KEY = st.sampled_from(KEYS)
EVENTS = st.builds(
    Event,
    message_id=st.text("abc", min_size=8, max_size=8),
    event=st.sampled_from(("view_item", "identify", "purchase")),
    visitor_key=KEY,
    time_ms=st.just(1_700_000_000_000),
    received_at_ms=st.integers(1_700_000_000_000, 1_700_000_000_010),
    items=st.just((Item(item_id="a", price=2.5, item_category="hats"),)),
    user_key=st.none() | KEY,
    browser_key=st.none() | KEY,
    session_id=st.none() | st.just("a-session"),
    search_term=st.none() | st.just("a hat"),
)
ERASED = st.dictionaries(KEY, st.integers(1_700_000_000_000, 1_700_000_000_010), max_size=3)


class _Told:
    """A table that tells everything once."""

    def __init__(self, erased_at_ms: dict[str, int]) -> None:
        at = Position(1, 0, 0)
        self._changes = [
            Entry(bytes.fromhex(key), encode(Tombstone(at_ms)), at_ms, at) for key, at_ms in erased_at_ms.items()
        ]

    def items(self) -> dict[bytes, bytes]:
        return {}

    async def changes(self, *, wait_ms: int) -> list[Entry]:
        del wait_ms
        changes, self._changes = self._changes, []
        return changes

    async def close(self) -> None:
        """Nothing to close."""


def encode(tombstone: Tombstone) -> bytes:
    return msgspec.json.encode(tombstone)


@given(st.lists(EVENTS, min_size=1, max_size=12), ERASED)
async def test_the_archive_empties_what_readers_hide(events: list[Event], erased_at_ms: dict[str, int]) -> None:
    tombstones = Tombstones(_Told(erased_at_ms), reader="test")
    await tombstones.refresh()
    positions = [Position(1, n, 0) for n in range(len(events))]
    rows = rows_of([ArchivedEvent(0, at, 5, event) for at, event in zip(positions, events, strict=True)])

    if erased_at_ms:
        rows = rows.with_columns(emptied(is_erased(erased_at_ms)))
    left = [row.event for row in events_of(rows)]

    for before, after in zip(events, left, strict=True):
        if tombstones.hides(before):
            assert after.visitor_key == NOBODY
            assert (after.items, after.user_key, after.browser_key, after.session_id, after.search_term) == (
                (),
                *[None] * 4,
            )
            assert (after.late, after.event) == (True, "page_view")
        else:
            assert after == before
    entries = [Entry(b"", encode_event(event), 0, at) for event, at in zip(events, positions, strict=True)]
    read = Deduplicated(Delivery("events", 0, 1, 5, tuple(entries)), entries, list(events), [], 0)
    assert without_erased(read, tombstones).events == [event for event in events if not tombstones.hides(event)]
