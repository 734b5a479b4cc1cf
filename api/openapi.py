"""The API in OpenAPI 3.1, generated from the types that decode and encode it, so that it cannot drift."""

from collections.abc import Sequence
from typing import Any

import msgspec

from api.catalog_upsert import CatalogAnswer
from api.dashboard import DashboardData
from api.openapi_merchandising import TYPES as MERCHANDISING_TYPES
from api.openapi_merchandising import merchandising_paths
from api.problems import Problem
from api.question import KNOWN as RECOMMENDATION_PARAMETERS
from api.question import LISTS as RECOMMENDATION_LISTS
from api.question import RecommendationQuery
from api.routes.lists import KNOWN as LIST_PARAMETERS
from api.routes.lists import LISTS as LIST_LISTS
from api.routes.lists import ItemList, ListQuery
from api.suggestions import Recommendations
from ingest.catalog import Product
from ingest.events import SentEvent
from ingest.verdicts import Answer as EventsAnswer
from recommender.merchandising.kinds import KINDS

_TITLES = {
    400: "The body is not what its Content-Type says",
    401: "No key, or one that is not ours",
    403: "A key or an origin that may not do this",
    404: "Nothing is there",
    409: "Made on what is no longer so",
    413: "Too large",
    415: "A Content-Type nobody asked for",
    422: "A parameter, field or event is wrong",
    503: "Overloaded, draining, or something behind is down; see Retry-After",
}
_REF = "#/components/schemas/{name}"


class EventBatch(msgspec.Struct):
    """Several events in one request."""

    events: list[SentEvent]
    sent_at: int | str | None = None


def openapi_document(*, version: str) -> dict[str, Any]:
    """The whole document; JSON, built once at start."""
    types = (
        RecommendationQuery,
        Recommendations,
        ItemList,
        ListQuery,
        SentEvent,
        EventBatch,
        EventsAnswer,
        Product,
        CatalogAnswer,
        DashboardData,
        Problem,
        *MERCHANDISING_TYPES,
    )
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Afterclick",
            "version": version,
            "description": "Clicks in, suggestions out. Errors are RFC 9457 problem documents that say "
            "what was wanted, what came and what to do next.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(schemas),
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }


_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The write key or the secret key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Afterclick-Key", "description": "The same, as a header."},
    "query": {"type": "apiKey", "in": "query", "name": "key", "description": "The same, for beacons."},
}
_KEYED: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, {"query": []}]


def _paths(schemas: dict[str, Any]) -> dict[str, Any]:
    questions = _parameters(schemas["RecommendationQuery"], RECOMMENDATION_PARAMETERS, RECOMMENDATION_LISTS)
    lists = _parameters(schemas["ListQuery"], LIST_PARAMETERS, LIST_LISTS)
    item = {"name": "item_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    products = {
        "application/x-ndjson": {"schema": _ref(Product)},
        "application/json": {"schema": {"anyOf": [_ref(Product), {"type": "array", "items": _ref(Product)}]}},
    }
    events = {"anyOf": [_ref(SentEvent), _ref(EventBatch), {"type": "array", "items": _ref(SentEvent)}]}
    return {
        "/v1/recommendations": {
            "get": _operation(
                "What this visitor should see here, now", Recommendations, (401, 422, 503), parameters=questions
            ),
            "post": _operation(
                "The same, asked in a body",
                Recommendations,
                (400, 401, 413, 415, 422, 503),
                body={"application/json": {"schema": _ref(RecommendationQuery)}},
            ),
        },
        "/v1/events": {
            "post": _operation(
                "Take clicks in; a verdict for each",
                EventsAnswer,
                (400, 401, 413, 415, 422, 503),
                status=202,
                body={kind: {"schema": events} for kind in ("application/json", "text/plain", "application/x-ndjson")},
            )
        },
        "/v1/trending": {"get": _operation("What trends, for everybody", ItemList, (401, 422), parameters=lists)},
        "/v1/items/{item_id}/similar": {
            "get": _operation("What goes with one item", ItemList, (401, 422), parameters=[item, *lists])
        },
        "/v1/catalog": {
            "post": _operation(
                "Tell products, or tell them anew; a verdict for each (secret key)",
                CatalogAnswer,
                (400, 401, 403, 413, 415, 422, 503),
                body=products,
            )
        },
        "/v1/catalog/{item_id}": {
            "get": _operation("One product (secret key)", Product, (401, 403, 404), parameters=[item])
        },
        "/dashboard/data": {"get": _operation("What the dashboard shows (secret key)", DashboardData, (401, 503))},
        "/metrics": {"get": _operation("For Prometheus (secret key)", None, (401, 403), media_type="text/plain")},
        "/health/live": {"get": _operation("Is the process there?", None, (), keyed=False)},
        "/health/ready": {
            "get": _operation("May it be sent requests?", None, (), keyed=False, more={"503": "Not yet, or draining"})
        },
        "/snippet.js": {
            "get": _operation("The script of a shop's pages", None, (), keyed=False, media_type="text/javascript")
        },
        **merchandising_paths([kind.name for kind in KINDS], _operation, _ref),
    }


def _operation(
    summary: str,
    answer: type | None,
    problems: Sequence[int],
    *,
    status: int = 200,
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    keyed: bool = True,
    media_type: str = "application/json",
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    schema = _ref(answer) if answer else {} if media_type == "application/json" else {"type": "string"}
    responses: dict[str, Any] = {str(status): {"description": "Yes", "content": {media_type: {"schema": schema}}}}
    for problem in problems:
        content = {"application/problem+json": {"schema": _ref(Problem)}}
        responses[str(problem)] = {"description": _TITLES[problem], "content": content}
    responses |= {code: {"description": said} for code, said in (more or {}).items()}
    operation: dict[str, Any] = {"summary": summary, "responses": responses, "security": _KEYED if keyed else []}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _parameters(schema: dict[str, Any], known: dict[str, str], lists: frozenset[str]) -> list[dict[str, Any]]:
    """A query struct's fields as query parameters."""
    required = set(schema.get("required", ()))
    parameters = []
    for name, field in schema["properties"].items():
        parameter = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(field),
            "description": known[name],
        }
        if name in lists:
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is left out; `null` is a word like any other in a query."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    plain = {name: value for name, value in field.items() if name not in {"anyOf", "default"} or value is not None}
    if len(kinds) == 1:
        del plain["anyOf"]
        return {**plain, **kinds[0]}
    return plain


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}
