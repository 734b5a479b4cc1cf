"""Of each model what it is made from and where it is used; and the schemas of what the recommender publishes."""

from typing import Final

import msgspec

from ingest.topic_notes import Schema
from recommender.merchandising.changes import Change
from recommender.model_log import Delta
from recommender.triggers.cart_left import CartCheck
from recommender.triggers.engagement import Engagement

_CLICKS = ("events",)


class ModelNote(msgspec.Struct, frozen=True):
    """What is to be known of one model.

    Attributes:
        made_from: topics, and features as `entity:name`.
        learns: when it takes in a click.
        used_by: what scores with it.
    """

    name: str
    owner: str
    made_from: tuple[str, ...]
    learns: str
    used_by: tuple[str, ...]
    description: str


_HISTORY = ("visitor:event_items", "visitor:event_kinds", "visitor:event_times_ms")

MODEL_NOTES: Final = (
    ModelNote("popularity", "recommender", _CLICKS, "every event", ("blend", "ladder"), "decayed counts of items"),
    ModelNote("trends", "recommender", _CLICKS, "every event", ("logics",), "items looked at more than before"),
    ModelNote(
        "transitions", "recommender", (*_CLICKS, *_HISTORY), "every event", ("blend", "ranker"), "what follows what"
    ),
    ModelNote(
        "session-knn",
        "recommender",
        (*_CLICKS, *_HISTORY),
        "every event",
        ("blend", "ranker"),
        "sessions like this one",
    ),
    ModelNote(
        "ials",
        "recommender",
        (*_CLICKS, *_HISTORY),
        "visitors at each request, items within a second, all anew in the background",
        ("blend", "ranker"),
        "factors of visitors and items by implicit feedback",
    ),
    ModelNote(
        "own-session", "recommender", _HISTORY, "at each request", ("blend", "ranker"), "the visitor's own items"
    ),
    ModelNote("bought-together", "recommender", _CLICKS, "every event", ("logics",), "what is bought with what"),
    ModelNote("buy-again", "recommender", _HISTORY, "at each request", ("logics",), "what is bought again, and when"),
    ModelNote("recently-viewed", "recommender", _HISTORY, "at each request", ("logics",), "the visitor's latest views"),
    ModelNote(
        "content", "recommender", ("catalog",), "with the catalogue", ("logics", "new items"), "items alike by text"
    ),
    ModelNote("attention", "recommender", _CLICKS, "trained apart, by hand", ("evaluation",), "one attention layer"),
    ModelNote(
        "ranker",
        "recommender",
        (*_CLICKS, *_HISTORY),
        "in the background on the newest sessions; a default is shipped",
        ("recommend",),
        "boosted trees over the other models' candidates",
    ),
)

SCHEMAS: Final = (
    Schema("change", 1, Change, "recommender", "one change of a rule, a placement or an experiment"),
    Schema("model-delta", 1, Delta, "recommender", "rows of a model that changed, named by its version"),
    Schema("engagement", 1, Engagement, "recommender", "a reason to turn to a visitor"),
    Schema("cart-check", 1, CartCheck, "recommender", "a cart to be looked at again"),
)
