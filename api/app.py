"""The ASGI application: routes, the error-to-status table, and what runs in the background."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import metadata, resources
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answers import AnswersLog
from api.asking import Asking
from api.auth import Gate
from api.catalog_upsert import CatalogUpsert
from api.cors import Cors
from api.dashboard import Dashboard
from api.earnings import Earnings
from api.edge import Edge
from api.errors import (
    ApiError,
    BadRequestError,
    BodyTooLargeError,
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    OverloadedError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from api.experiment_reports import ExperimentReports
from api.express import Express
from api.feast_shapes import FeastShapes
from api.merchandising import Merchandising
from api.openapi import openapi_document
from api.privacy import Privacy
from api.problems import problem_response
from api.routes.catalog import catalog_routes
from api.routes.dashboard import dashboard_routes
from api.routes.docs import docs_routes
from api.routes.earnings import earnings_route
from api.routes.events import events_route
from api.routes.feast import feast_routes
from api.routes.health import health_routes
from api.routes.merchandising import merchandising_routes
from api.routes.metrics import metrics_route
from api.routes.openapi import openapi_route
from api.routes.privacy import privacy_routes
from api.routes.segment import segment_routes
from api.routes.snippet import snippet_route
from api.routes.visitor_keys import visitor_keys_route
from api.segment import SegmentDoor
from api.services import Background, Services
from api.settings import ApiSettings
from api.suggestions import Suggestions

STATUS_OF: Mapping[type[ApiError], int] = {
    BadRequestError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    BodyTooLargeError: 413,
    UnsupportedMediaTypeError: 415,
    InvalidParameterError: 422,
    OverloadedError: 503,
    UnavailableError: 503,
}
"""The one table from errors to statuses; `ingest` brings its own statuses with its replies."""

_BUSY_PATHS = frozenset({"/v1/recommendations", "/v1/events"})

_SETTLE_S = 0.02
_CANCEL_AGAIN_S = 0.05

log = structlog.get_logger()


def build_app(services: Services, settings: ApiSettings) -> Starlette:
    """Wire routes, middleware and background tasks around `services`."""
    state = _State()
    answers = AnswersLog(pending_max=settings.answers_pending_max, flush_ms=settings.answers_flush_ms)
    dashboard = Dashboard(services.open_store, services.catalog, retry_after_s=settings.retry_after_s)
    asking = Asking(services, settings, log=answers.add, status_of=lambda error: STATUS_OF[type(error)])
    routes = _routes(services, settings, asking, dashboard, state)
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Cors, origins=settings.origins, preflight_max_age_s=settings.preflight_max_age_s),
            Middleware(Edge, routes={route.endpoint: route.path for route in routes}),
            Middleware(Express, routes=[r for r in routes if r.path in _BUSY_PATHS], on_error=_on_api_error),
        ],
        exception_handlers={**dict.fromkeys(STATUS_OF, _on_api_error), HTTPException: _on_http_error},
        lifespan=lambda _: _lifespan(
            services, asking.suggestions, answers, dashboard, state, settle_s_max=settings.settle_ms_max / 1000
        ),
    )
    app.state.drain = state.drain
    return app


class _State:
    """Is this process taking requests?"""

    def __init__(self) -> None:
        self.started = False
        self.draining = False

    def drain(self) -> None:
        """Say 503 to readiness probes from now on; requests are still answered."""
        self.draining = True

    async def is_taking_requests(self) -> bool:
        """For `/health/ready`."""
        return self.started and not self.draining


def _routes(
    services: Services,
    settings: ApiSettings,
    asking: Asking,
    dashboard: Dashboard,
    state: _State,
) -> list[Route]:
    gate = Gate(services.keys)
    discarded, retry_after_s = settings.discarded_bytes_max, settings.retry_after_s
    upsert = CatalogUpsert(
        services.bus,
        services.catalog,
        lines_max=settings.catalog_lines_max,
        retry_after_s=settings.retry_after_s,
    )

    async def has_catalog() -> bool:
        return services.catalog.ready

    async def has_merchandising() -> bool:
        return services.merchandising.ready.is_set()

    checks = {
        "requests": state.is_taking_requests,
        "catalog": has_catalog,
        "merchandising": has_merchandising,
        **services.checks,
    }
    assets = _assets()
    return [
        # The hot ones first: the router tries them in order.
        *asking.hot_routes(gate),
        events_route(services.accept, gate, bytes_max=settings.events_body_bytes_max, discarded_bytes_max=discarded),
        *asking.routes(gate),
        *segment_routes(
            SegmentDoor(services.accept),
            gate,
            bytes_max=settings.events_body_bytes_max,
            discarded_bytes_max=discarded,
        ),
        *catalog_routes(
            upsert,
            services.catalog,
            gate,
            bytes_max=settings.catalog_body_bytes_max,
            discarded_bytes_max=discarded,
        ),
        visitor_keys_route(services.keys.visitor_secret_bytes, gate),
        *feast_routes(
            FeastShapes(services.read_features, secret=services.keys.visitor_secret_bytes, retry_after_s=retry_after_s),
            services.accept,
            gate,
            bytes_max=settings.events_body_bytes_max,
            discarded_bytes_max=discarded,
        ),
        *privacy_routes(
            Privacy(services.person, secret=services.keys.visitor_secret_bytes, retry_after_s=retry_after_s), gate
        ),
        *merchandising_routes(
            Merchandising(services.merchandising, retry_after_s=retry_after_s),
            ExperimentReports(services.merchandising.ledger, services.count_outcomes, retry_after_s=retry_after_s),
            gate,
        ),
        earnings_route(Earnings(services.count_earned, retry_after_s=retry_after_s), gate),
        # The bus and the store may go down later: suggestions are answered without them, so this process stays ready.
        *health_routes(checks, required=frozenset({"requests", "catalog", "merchandising"})),
        metrics_route(gate),
        snippet_route(services.snippet, max_age_s=settings.snippet_max_age_s),
        openapi_route(openapi_document(version=metadata.version("afterclick"))),
        *docs_routes(assets),
        *dashboard_routes(dashboard.data, gate, assets, session_max_age_s=settings.session_max_age_s),
    ]


def _assets() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in resources.files("api").joinpath("static").iterdir()}


@contextlib.asynccontextmanager
async def _lifespan(
    services: Services,
    suggestions: Suggestions,
    answers: AnswersLog,
    dashboard: Dashboard,
    state: _State,
    *,
    settle_s_max: float,
) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settling = asyncio.create_task(_settle(services, suggestions, state), name="settle")
    # These two hold nothing that would have to be finished, and may wait for long.
    careless = [
        settling,
        asyncio.create_task(services.catalog.follow(services.bus), name="catalog"),
        asyncio.create_task(services.merchandising.follow(), name="merchandising"),
    ]
    careful = [
        asyncio.create_task(answers.run(services.bus, stop), name="answers"),
        *(asyncio.create_task(_awaited(run, stop)) for run in services.background),
    ]
    for task in (*careless, *careful):
        task.add_done_callback(_report_death)
    # Nobody listens yet: beside another server on the port a fresh one takes no request before it knows the catalogue.
    # A bus that is away must not keep it silent, though.
    await asyncio.wait({settling}, timeout=settle_s_max)
    yield
    state.drain()
    stop.set()
    await _cancel(careless)
    await asyncio.gather(*careful, return_exceptions=True)
    await dashboard.close()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until they are done: the Valkey client loses a cancellation that comes while it looks for stale bytes."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


async def _settle(services: Services, suggestions: Suggestions, state: _State) -> None:
    """Wait for what is loaded at start, warm up, freeze what that allocated, then be ready.

    A full collection over what is loaded at start takes 33 ms; frozen, it is never walked again.
    """
    # The checks are others' and tell nobody when they change, so they are asked again.
    known = services.merchandising.ready
    while not (  # noqa: ASYNC110
        services.catalog.ready and known.is_set() and all([await services.checks[name]() for name in services.required])
    ):
        await asyncio.sleep(_SETTLE_S)
    await suggestions.warm_up()
    gc.collect()
    gc.freeze()
    state.started = True


async def _awaited(run: Background, stop: asyncio.Event) -> None:
    await run(stop)


def _report_death(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background task died", task=task.get_name(), exc_info=error)


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem_response(error, STATUS_OF[type(error)])


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    is_method = error.status_code == 405
    allowed = _methods_of(request) if is_method else ""
    problem = ApiError(
        "method_not_allowed" if is_method else "not_found" if error.status_code == 404 else "refused",
        wanted=f"one of {allowed}" if is_method else "a path of /openapi.json",
        got=request.method if is_method else request.url.path[:128],
        next_step="see /openapi.json for every path and its methods",
        headers={"Allow": allowed} if is_method else dict(error.headers or {}),
    )
    return problem_response(problem, error.status_code)


def _methods_of(request: Request) -> str:
    """Every method of the path: the router speaks of the first of its routes alone."""
    matches = [route.methods or set() for route in request.app.routes if route.path_regex.match(request.url.path)]
    return ", ".join(sorted(set().union(*matches)))
