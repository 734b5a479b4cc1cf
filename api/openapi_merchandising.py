"""The merchandiser's endpoints in OpenAPI."""

from collections.abc import Callable, Sequence
from typing import Any

from api.earnings import EarningsAnswer
from api.merchandising import (
    Audit,
    DocumentList,
    DocumentView,
    Edit,
    ImportAnswer,
    MerchandisingFile,
    Undo,
)
from api.routes import earnings, rule_preview
from api.routes.merchandising import PATH
from api.rule_forecast import ForecastQuery
from api.rule_preview import PreviewAnswer, PreviewQuery
from recommender.earned import BY
from recommender.experiments import ExperimentReport
from recommender.forecasting import Forecast

TYPES: tuple[type, ...] = (
    Audit,
    DocumentList,
    DocumentView,
    EarningsAnswer,
    Edit,
    ExperimentReport,
    Forecast,
    ForecastQuery,
    ImportAnswer,
    MerchandisingFile,
    PreviewAnswer,
    PreviewQuery,
    Undo,
)

_READS = (401, 403)
_WRITES = (400, 401, 403, 413, 415, 422, 503)

Operation = Callable[..., dict[str, Any]]


def merchandising_paths(kinds: Sequence[str], operation: Operation, ref: Callable[[type], Any]) -> dict[str, Any]:
    """The paths. `operation`, `ref`: as `api.openapi` makes operations and references."""
    who = {"name": "who", "in": "query", "required": False, "schema": {"type": "string", "maxLength": 128}}
    file = {"application/json": {"schema": ref(MerchandisingFile)}}
    paths: dict[str, Any] = {
        PATH: {
            "get": operation("Everything decided, as one file (secret key)", MerchandisingFile, _READS),
            "put": operation(
                "Make everything as the file has it (secret key)", ImportAnswer, _WRITES, parameters=[who], body=file
            ),
        },
        "/v1/experiments/{document_id}/report": {
            "get": operation(
                "What can be said of an experiment now (secret key)",
                ExperimentReport,
                (*_READS, 404, 503),
                parameters=[_document_id()],
            )
        },
        rule_preview.PATH: {
            "post": operation(
                "A page before and after a change of rules (secret key)",
                PreviewAnswer,
                _WRITES,
                body={"application/json": {"schema": ref(PreviewQuery)}},
            )
        },
        rule_preview.FORECAST_PATH: {
            "post": operation(
                "What a change of rules would earn (secret key)",
                Forecast,
                (*_WRITES, 409),
                body={"application/json": {"schema": ref(ForecastQuery)}},
            )
        },
        earnings.PATH: {
            "get": operation(
                "What suggestions earned (secret key)",
                EarningsAnswer,
                (*_READS, 422, 503),
                parameters=[
                    {"name": "by", "in": "query", "required": False, "schema": {"type": "string", "enum": list(BY)}},
                    *(
                        {"name": name, "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}}
                        for name in ("from_ms", "until_ms")
                    ),
                ],
            )
        },
        PATH + "/audit": {"get": operation("Who changed what, newest first (secret key)", Audit, _READS)},
    }
    for kind in kinds:
        paths |= _paths_of(kind, who, operation, ref)
    return paths


def _paths_of(kind: str, who: dict[str, Any], operation: Operation, ref: Callable[[type], Any]) -> dict[str, Any]:
    name = _document_id()
    edits = {"name": "edits", "in": "query", "required": True, "schema": {"type": "integer", "minimum": 1}}
    one = f"/v1/{kind}s/{{document_id}}"
    listing = {} if kind == "placement" else {"get": operation(f"Every {kind} (secret key)", DocumentList, _READS)}
    return {
        f"/v1/{kind}s": {
            **listing,
            "post": operation(
                f"Make or replace a {kind} (secret key)",
                DocumentView,
                (*_WRITES, 409),
                body={"application/json": {"schema": ref(Edit)}},
            ),
        },
        one: {
            "get": operation(f"One {kind} (secret key)", DocumentView, (*_READS, 404), parameters=[name]),
            "delete": operation(
                f"Delete a {kind} (secret key)",
                DocumentView,
                (*_READS, 404, 409, 422, 503),
                parameters=[name, edits, who],
            ),
        },
        one + "/history": {"get": operation("Its changes (secret key)", Audit, (*_READS, 404), parameters=[name])},
        one + "/undo": {
            "post": operation(
                "Go back to an earlier version (secret key)",
                DocumentView,
                (*_WRITES, 404, 409),
                parameters=[name],
                body={"application/json": {"schema": ref(Undo)}},
            )
        },
    }


def _document_id() -> dict[str, Any]:
    return {"name": "document_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
