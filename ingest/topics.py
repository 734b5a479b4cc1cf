"""Every topic's name, kind, key and retention, in one place."""

from typing import Literal

import msgspec

TopicKind = Literal["stream", "queue", "table"]

_DAY_MS = 86_400_000


class Topic(msgspec.Struct, frozen=True):
    """One topic of the bus.

    `stream`: ordered per partition, packed, replayable. `queue`: competing consumers, one message an entry, delay and
    dead letters. `table`: the latest value per key, never packed.
    """

    name: str
    kind: TopicKind
    key: str
    partitioned: bool
    retention_ms: int | None
    """None: kept for ever."""


EVENTS = Topic("events", "stream", "visitor", True, 7 * _DAY_MS)
EVENTS_REJECTED = Topic("events-rejected", "stream", "none", False, 7 * _DAY_MS)
CATALOG = Topic("catalog", "table", "item", False, None)
MERCHANDISING = Topic("merchandising", "table", "rule", False, None)
MODEL = Topic("model", "stream", "block", False, 2 * _DAY_MS)
ANSWERS = Topic("answers", "stream", "visitor", True, 30 * _DAY_MS)
ENGAGEMENTS = Topic("engagements", "queue", "visitor", False, 7 * _DAY_MS)

ALL_TOPICS = (EVENTS, EVENTS_REJECTED, CATALOG, MERCHANDISING, MODEL, ANSWERS, ENGAGEMENTS)
