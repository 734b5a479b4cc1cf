"""The description of the API, against what the API is."""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.catalog_table import PROPERTIES
from api.openapi import openapi_document
from api.openapi_asking import QUERIES
from api.question import RecommendationQuery
from ingest.catalog import Product

DOCUMENT = openapi_document(version="1.2.3")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    references = set(_references(DOCUMENT))

    assert references
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= set(schemas)


def test_every_schema_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in _references(DOCUMENT)}

    # Query structs are taken apart into parameters.
    assert set(DOCUMENT["components"]["schemas"]) - used == QUERIES


def test_every_field_of_the_question_is_a_parameter() -> None:
    parameters = {p["name"]: p for p in DOCUMENT["paths"]["/v1/recommendations"]["get"]["parameters"]}

    assert list(parameters) == [field.name for field in msgspec.structs.fields(RecommendationQuery)]
    assert parameters["visitor"]["required"]
    assert parameters["n"]["schema"]["maximum"] == 200


def test_every_path_parameter_is_declared() -> None:
    for path, _, operation in _operations():
        for part in path.split("/"):
            if part.startswith("{"):
                names = [p["name"] for p in operation["parameters"] if p["in"] == "path" and p["required"]]
                assert part.strip("{}") in names


def test_every_operation_says_what_it_answers_and_who_may_ask() -> None:
    for path, method, operation in _operations():
        assert operation["summary"], (path, method)
        assert any(code.startswith("2") for code in operation["responses"]), (path, method)
        assert ("401" in operation["responses"]) == bool(operation["security"]), (path, method)


def test_every_fact_of_a_product_can_be_asked_for() -> None:
    assert ("item_id", *PROPERTIES) == tuple(field.name for field in msgspec.structs.fields(Product))
