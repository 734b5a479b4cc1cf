"""How a visitor's record is laid out: its sections, their limits, and how large it can get.

After the 28 bytes of the header come sections: id (1 byte), size of the body (2), body. They stand in the order of
their ids; one that holds nothing is left out. A section's meaning never changes: what is to be stored in another way
gets a new id. A reader takes the absence of a section for "nothing", so that a record written before a section existed
stays readable, and it skips an id that it does not know.
"""

from typing import Final

from feature_store.record_header import HEADER_BYTES

EVENTS_MAX: Final = 100
SHOWN_MAX: Final = 50
SHOWN_KIND: Final = 0
"""The `kind` of a touch that is an impression."""
QUANTITY_MAX: Final = 255
KIND_SLOTS: Final = 8
"""Kinds are numbered below this."""

FLAGS_AT: Final = 26
OVERFLOWED: Final = 1
"""Of the flags: events were let go of the ring."""

SECTION_EVENTS: Final = 1
SECTION_SHOWN: Final = 2
SECTION_LET_GO: Final = 3
SECTION_CART: Final = 4
SECTION_ATTRIBUTED: Final = 5
"""Kept for the last 20 items that were clicked on as suggestions; nothing is written there yet."""
SECTION_HEAD_BYTES: Final = 3

HOUR_MS: Final = 3_600_000
HOURS: Final = 25
SIX_HOURS_MS: Final = 6 * HOUR_MS
SIX_HOURS: Final = 29
"""A window of n buckets touches n + 1 of them."""
CART_LINES_MAX: Final = 32
"""Lines of a cart that are remembered beyond the ring's 100 events; the oldest are forgotten first."""

RING_COLUMNS: Final = 6
"""time ms, kind, quantity, item, category, price code."""
CART_COLUMNS: Final = 3
"""item, quantity (0: taken out), ms of the event that said so."""

_EVENT_BYTES_MAX = 7 + 2 + 5 + 2 + 5
_SHOWN_BYTES_MAX = 7 + 1 + 5
_BUCKET_BYTES_MAX = 2 + 9
RECORD_BYTES_MAX: Final = (
    HEADER_BYTES
    + 4 * SECTION_HEAD_BYTES
    + 16
    + EVENTS_MAX * _EVENT_BYTES_MAX
    + 8
    + SHOWN_MAX * _SHOWN_BYTES_MAX
    + 1
    + KIND_SLOTS * 6
    + 4
    + (HOURS + SIX_HOURS) * KIND_SLOTS * _BUCKET_BYTES_MAX
    + 1
    + CART_LINES_MAX * (5 + 2 + 6)
)
