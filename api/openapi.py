"""The API in OpenAPI 3.1, generated from the types that decode and encode it, so that it cannot drift."""

from typing import Annotated, Any

import msgspec

from api.catalog_upsert import CatalogAnswer
from api.dashboard import DashboardData
from api.openapi_asking import TYPES as ASKING_TYPES
from api.openapi_asking import asking_paths, path_parameter
from api.openapi_merchandising import TYPES as MERCHANDISING_TYPES
from api.openapi_merchandising import merchandising_paths
from api.openapi_operations import REF, operation, ref
from api.problems import Problem
from api.routes.segment import CALLS as SEGMENT_CALLS
from api.routes.segment import path_of
from api.routes.visitor_keys import VisitorIds, VisitorKeys
from api.segment import SegmentBatch, SegmentMessage
from ingest.catalog import Product
from ingest.events import SentEvent
from ingest.verdicts import Answer as EventsAnswer
from recommender.merchandising.kinds import KINDS


class EventBatch(msgspec.Struct):
    """Several events in one request."""

    events: Annotated[list[SentEvent], msgspec.Meta(min_length=1)]
    sent_at: int | str | None = None


def openapi_document(*, version: str) -> dict[str, Any]:
    """The whole document; JSON, built once at start."""
    types = (
        *ASKING_TYPES,
        SegmentMessage,
        SegmentBatch,
        SentEvent,
        EventBatch,
        EventsAnswer,
        Product,
        CatalogAnswer,
        DashboardData,
        Problem,
        VisitorIds,
        VisitorKeys,
        *MERCHANDISING_TYPES,
    )
    _, schemas = msgspec.json.schema_components(types, ref_template=REF)
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


def _paths(schemas: dict[str, Any]) -> dict[str, Any]:
    item = path_parameter("item_id")
    products = {
        "application/x-ndjson": {"schema": ref(Product)},
        "application/json": {
            "schema": {"anyOf": [ref(Product), {"type": "array", "items": ref(Product), "minItems": 1}]}
        },
    }
    events = {"anyOf": [ref(SentEvent), ref(EventBatch), {"type": "array", "items": ref(SentEvent), "minItems": 1}]}
    paths = {
        **asking_paths(schemas),
        "/v1/events": {
            "post": operation(
                "Take clicks in; a verdict for each",
                EventsAnswer,
                (400, 401, 413, 415, 422, 503),
                status=202,
                body={kind: {"schema": events} for kind in ("application/json", "text/plain", "application/x-ndjson")},
            )
        },
        **{
            path_of(call): {
                "post": operation(
                    f"Segment's {call}; a verdict for each message",
                    EventsAnswer,
                    (400, 401, 413, 415, 422, 503),
                    status=202,
                    body={
                        kind: {"schema": ref(SegmentBatch if call == "batch" else SegmentMessage)}
                        for kind in ("application/json", "text/plain")
                    },
                )
            }
            for call in SEGMENT_CALLS
        },
        "/v1/catalog": {
            "post": operation(
                "Tell products, or tell them anew; a verdict for each (secret key)",
                CatalogAnswer,
                (400, 401, 403, 413, 415, 422, 503),
                body=products,
            )
        },
        "/v1/catalog/{item_id}": {
            "get": operation("One product (secret key)", Product, (401, 403, 404), parameters=[item])
        },
        "/dashboard/data": {"get": operation("What the dashboard shows (secret key)", DashboardData, (401, 503))},
        "/metrics": {"get": operation("For Prometheus (secret key)", None, (401, 403), media_type="text/plain")},
        "/health/live": {"get": operation("Is the process there?", None, (), keyed=False)},
        "/health/ready": {
            "get": operation("May it be sent requests?", None, (), keyed=False, more={"503": "Not yet, or draining"})
        },
        "/openapi.json": {"get": operation("This document", None, (), keyed=False)},
        "/snippet.js": {
            "get": operation("The script of a shop's pages", None, (), keyed=False, media_type="text/javascript")
        },
        "/v1/visitors/keys": {
            "post": operation(
                "The keys of the shop's own visitors (secret key)",
                VisitorKeys,
                (400, 401, 403, 413, 415, 422),
                body={"application/json": {"schema": ref(VisitorIds)}},
            )
        },
    }
    for path, methods in merchandising_paths([kind.name for kind in KINDS], operation, ref).items():
        paths[path] = methods | paths.get(path, {})
    return paths
