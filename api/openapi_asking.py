"""What a shop asks about its visitors, in OpenAPI."""

from typing import Any

from api.bulk import BulkProblem
from api.feast_shapes import FeaturesQuery, OnlineFeaturesAnswer, PushQuery
from api.openapi_operations import operation, parameters_of, ref
from api.privacy import Export, Receipt
from api.question import KNOWN, LISTS, RecommendationQuery
from api.recent_items import KNOWN as KNOWN_RECENT
from api.recent_items import LISTS as LISTS_RECENT
from api.recent_items import RecentItems, RecentQuery
from api.reranking import RerankAnswer, RerankQuery
from api.routes import bulk, explain, feast, placements, privacy, recommendations, rerank, visitors, why_not
from api.routes.catalog import LINES_TYPES
from api.routes.explain import ExplainQuery, Explanation
from api.routes.lists import KNOWN as KNOWN_LIST
from api.routes.lists import LISTS as LISTS_LIST
from api.routes.lists import ItemList, ListQuery
from api.routes.placements import PlacementList
from api.routes.why_not import WhyNotQuery
from api.suggestions import Recommendations
from ingest.verdicts import Answer
from recommender.why_not import WhyNot

TYPES: tuple[type, ...] = (
    RecommendationQuery,
    Recommendations,
    ItemList,
    ListQuery,
    RerankQuery,
    RerankAnswer,
    RecentQuery,
    RecentItems,
    ExplainQuery,
    Explanation,
    WhyNotQuery,
    WhyNot,
    PlacementList,
    Export,
    Receipt,
    FeaturesQuery,
    OnlineFeaturesAnswer,
    PushQuery,
    BulkProblem,
)
QUERIES = frozenset({"ListQuery", "RecentQuery", "ExplainQuery", "WhyNotQuery"})
"""Query structs that are taken apart into parameters and referred to nowhere."""

_READS = (401, 422, 503)
_WRITES = (400, 401, 413, 415, 422, 503)


def path_parameter(name: str, *, longest: int = 64) -> dict[str, Any]:
    """A part of a path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": longest},
    }


def asking_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The paths."""
    questions = parameters_of(schemas["RecommendationQuery"], KNOWN, LISTS)
    lists = parameters_of(schemas["ListQuery"], KNOWN_LIST, LISTS_LIST)
    recent = parameters_of(schemas["RecentQuery"], KNOWN_RECENT, LISTS_RECENT)
    missed = parameters_of(schemas["WhyNotQuery"], why_not.KNOWN, LISTS)
    explained = parameters_of(schemas["ExplainQuery"], explain.KNOWN, frozenset())
    item, answered = path_parameter("item_id"), path_parameter("recommendation_id", longest=160)
    visitor = path_parameter("visitor_id", longest=visitors.VISITOR_CHARACTERS_MAX)
    question = {kind: {"schema": ref(RecommendationQuery)} for kind in ("application/json", "text/plain")}
    candidates = {kind: {"schema": ref(RerankQuery)} for kind in ("application/json", "text/plain")}
    lines = {kind: {"schema": ref(RecommendationQuery)} for kind in LINES_TYPES}
    return {
        recommendations.PATH: {
            "get": operation("What this visitor should see here, now", Recommendations, _READS, parameters=questions),
            "post": operation("The same, asked in a body", Recommendations, _WRITES, body=question),
        },
        recommendations.NEXT_PATH: {
            "get": operation(
                "What comes after an answer: nothing that it, and those it goes on from, have shown",
                Recommendations,
                (*_READS, 404),
                parameters=[answered, *questions],
            ),
            "post": operation(
                "The same, asked in a body", Recommendations, (*_WRITES, 404), parameters=[answered], body=question
            ),
        },
        bulk.PATH: {
            "post": operation(
                "Many questions, one a line; an answer or a problem a line, in order, streamed (secret key)",
                (Recommendations, BulkProblem),
                (*_WRITES, 403),
                body=lines,
                media_type="application/x-ndjson",
            )
        },
        rerank.PATH: {
            "post": operation(
                "A search result or a category page in this visitor's order", RerankAnswer, _WRITES, body=candidates
            )
        },
        "/v1/trending": {"get": operation("What trends, for everybody", ItemList, (401, 422), parameters=lists)},
        "/v1/items/{item_id}/similar": {
            "get": operation("What goes with one item", ItemList, (401, 422), parameters=[item, *lists])
        },
        "/v1/items/{item_id}/bought-together": {
            "get": operation("What is bought with one item", ItemList, (401, 422), parameters=[item, *lists])
        },
        visitors.PATH: {
            "get": operation(
                "What a visitor did last, newest first (secret key)",
                RecentItems,
                (*_READS, 403),
                parameters=[visitor, *recent],
            )
        },
        feast.FEATURES_PATH: {
            "post": operation(
                "Values of features by entity, in Feast's shape (secret key)",
                OnlineFeaturesAnswer,
                (*_WRITES, 403),
                body={"application/json": {"schema": ref(FeaturesQuery)}},
            )
        },
        feast.PUSH_PATH: {
            "post": operation(
                "Events in columns, in Feast's shape (secret key)",
                Answer,
                (*_WRITES, 403),
                status=202,
                body={"application/json": {"schema": ref(PushQuery)}},
            )
        },
        privacy.PATH: {
            "get": operation(
                "All that the online store holds of someone (secret key)", Export, (*_READS, 403), parameters=[visitor]
            ),
            "delete": operation(
                "Erase someone, a user with all their browsers (secret key)",
                Receipt,
                (*_READS, 403),
                parameters=[visitor],
            ),
        },
        explain.PATH: {
            "get": operation(
                "What an answer was, as far as it was kept (secret key)",
                Explanation,
                (*_READS, 403, 404),
                parameters=explained,
            )
        },
        why_not.PATH: {
            "get": operation(
                "What stands in an item's way into an answer (secret key)",
                WhyNot,
                (*_READS, 403),
                parameters=missed,
            )
        },
        placements.PATH: {
            "get": operation(
                "Where suggestions may stand, and what each place asks for (secret key)", PlacementList, (401, 403)
            )
        },
    }
