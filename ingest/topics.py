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
    """None: kept for ever. Of a table this is how long its changes stay; the latest value per key always does."""
    archived: bool = False
    """The embedded bus trims nothing of it that the subscription `archive` has not acknowledged."""
    redeliveries_max: int = 4
    """Queues: after so many further deliveries an entry goes to the dead letters of its subscription."""


EVENTS = Topic("events", "stream", "visitor", True, 7 * _DAY_MS, archived=True)
EVENTS_REJECTED = Topic("events-rejected", "stream", "none", False, 7 * _DAY_MS)
CATALOG = Topic("catalog", "table", "item", False, 7 * _DAY_MS)
MERCHANDISING = Topic("merchandising", "stream", "rule", False, None)
MODEL = Topic("model", "stream", "block", False, 2 * _DAY_MS)
ANSWERS = Topic("answers", "stream", "visitor", True, 30 * _DAY_MS)
ENGAGEMENTS = Topic("engagements", "queue", "visitor", False, 7 * _DAY_MS)
TOMBSTONES = Topic("tombstones", "table", "visitor", False, None)

CART_CHECKS = Topic("cart-checks", "queue", "visitor", False, 7 * _DAY_MS)

ALL_TOPICS = (
    EVENTS,
    EVENTS_REJECTED,
    CATALOG,
    MERCHANDISING,
    MODEL,
    ANSWERS,
    ENGAGEMENTS,
    TOMBSTONES,
    CART_CHECKS,
)


def dead_letters(topic: Topic, subscription: str) -> Topic:
    """Where a queue's entries go that `subscription` gave up on; read it with `Bus.read`. Pulsar's own naming."""
    return Topic(f"{topic.name}-{subscription}-DLQ", "queue", topic.key, False, topic.retention_ms)
