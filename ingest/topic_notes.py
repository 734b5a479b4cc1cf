"""Of each topic who owns it, what writes and reads it, and what lies on it: a part of the metadata layer."""

from typing import Final

import msgspec

from ingest.catalog import Product
from ingest.events import Event, RejectedEvent
from ingest.tombstones import Tombstone
from ingest.topics import (
    ANSWERS,
    CART_CHECKS,
    CATALOG,
    ENGAGEMENTS,
    EVENTS,
    EVENTS_REJECTED,
    MERCHANDISING,
    MODEL,
    TOMBSTONES,
    Topic,
)

COMPATIBILITY: Final = "fields are only added, each with a default; none is removed, renamed or given another type"


class TopicNote(msgspec.Struct, frozen=True):
    """What is to be known of one topic. `schema`: name of a `Schema`. `written_by`, `read_by`: parts of the system."""

    topic: Topic
    owner: str
    schema: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    description: str


class Schema(msgspec.Struct, frozen=True):
    """One kind of entry: its struct, its version, and the rule by which it may change under that version."""

    name: str
    version: int
    struct: type[msgspec.Struct]
    owner: str
    description: str
    compatibility: str = COMPATIBILITY

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, as they lie on the topic."""
        return tuple(field.encode_name for field in msgspec.structs.fields(self.struct))


SCHEMAS: Final = (
    Schema("event", 1, Event, "ingest", "one accepted event"),
    Schema("rejected-event", 1, RejectedEvent, "ingest", "what was refused, and why"),
    Schema("product", 1, Product, "ingest", "what the shop says of one product"),
    Schema("tombstone", 1, Tombstone, "ingest", "a visitor who is to be forgotten"),
)

TOPIC_NOTES: Final = (
    TopicNote(
        EVENTS,
        "ingest",
        "event",
        ("collector",),
        ("worker", "archive", "learner", "triggers"),
        "every accepted event, ordered by visitor",
    ),
    TopicNote(
        EVENTS_REJECTED,
        "ingest",
        "rejected-event",
        ("collector", "worker"),
        ("operator",),
        "ready to be mended and sent",
    ),
    TopicNote(CATALOG, "ingest", "product", ("server",), ("server", "triggers"), "the latest facts of each product"),
    TopicNote(
        MERCHANDISING, "recommender", "change", ("server",), ("server",), "every change of rules and experiments"
    ),
    TopicNote(
        MODEL, "recommender", "model-delta", ("learner",), ("server",), "what the learner changed, by model version"
    ),
    TopicNote(ANSWERS, "api", "served-answer", ("server",), ("analyst",), "what was served, where, by which model"),
    TopicNote(ENGAGEMENTS, "recommender", "engagement", ("triggers",), ("mailer", "webhooks"), "work for others"),
    TopicNote(
        TOMBSTONES, "ingest", "tombstone", ("server",), ("worker", "archive", "learner"), "who is to be forgotten"
    ),
    TopicNote(CART_CHECKS, "recommender", "cart-check", ("triggers",), ("triggers",), "carts to be looked at again"),
)
