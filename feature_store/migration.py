"""Records of earlier releases, turned into today's when they are read; an update then writes them in today's layout.

What an old record did not hold is empty in the new one and fills as events come; `afterclick rebuild` gives it its
history. Each layout that was ever released keeps its rule here until a release note drops it:

- 1, visitors: events and impressions are taken over. One that had let events go counts its windows of 24 h and 7 d from
  the upgrade on.
- 2 and 3, items and placements: rings that are still kept are taken over, the others begin empty; the placements' keys
  have no variant, as today's of visitors outside experiments.

A record of a newer release is refused by name (`RecordFormatError`).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from feature_store import layouts
from feature_store.bucket_record import upgraded_buckets
from feature_store.record_header import layout_of
from feature_store.visitor_migration import FIRST_VISITOR, upgraded_visitor

_RULES: Final[dict[int, Callable[[bytes], bytes]]] = {
    FIRST_VISITOR: upgraded_visitor,
    **{
        layout.predecessor.number: partial(upgraded_buckets, layout=layout)
        for layout in (layouts.ITEM, layouts.PLACEMENT)
        if layout.predecessor is not None
    },
}


def upgraded(record: bytes) -> bytes:
    """The record in today's layout; one that has it, or that nothing here knows, as it is."""
    rule = _RULES.get(layout_of(record))
    return record if rule is None else rule(record)
