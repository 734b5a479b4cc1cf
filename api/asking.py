"""Everything that answers what a shop asks about its visitors, wired together, and its routes."""

from collections.abc import Callable

from starlette.routing import Route

from api.answers import ServedAnswer
from api.auth import Gate
from api.budget import Admission, StoreGuard
from api.bulk import Bulk
from api.decided import Decided
from api.errors import ApiError
from api.following import Following
from api.recent_items import Recent
from api.reranking import Reranking
from api.routes.bulk import bulk_route
from api.routes.explain import explain_route
from api.routes.lists import list_routes
from api.routes.placements import placements_route
from api.routes.recommendations import recommendations_routes
from api.routes.rerank import rerank_route
from api.routes.rule_preview import rule_preview_routes
from api.routes.visitors import recent_route
from api.routes.why_not import why_not_route
from api.rule_forecast import RuleForecast
from api.rule_preview import Preview, RulePreview
from api.served_answers import ServedAnswers
from api.services import Services
from api.settings import ApiSettings
from api.suggestions import Suggestions
from api.visitors import Visitors
from recommender.merchandising import Ledger
from recommender.placements import Placements
from recommender.rotation import Rotation


class Asking:
    """One for each process.

    Args:
        log: takes what was served; never waits.
        status_of: the one table from errors to statuses.
    """

    def __init__(
        self,
        services: Services,
        settings: ApiSettings,
        *,
        log: Callable[[ServedAnswer], None],
        status_of: Callable[[ApiError], int],
    ) -> None:
        self._services = services
        self._settings = settings
        self._status_of = status_of
        retry_after_s = settings.retry_after_s
        self._admission = Admission(in_flight_max=settings.in_flight_max, retry_after_s=retry_after_s)
        self._visitors = _visitors(services, settings, self._admission)
        self._placements = Placements(settings.placement_table)
        self._decided = decided = Decided(
            services.merchandising.ledger,
            secret=services.keys.visitor_secret_bytes,
            names=services.names,
            placements=self._placements,
            use_rules=services.use_rules,
        )
        services.merchandising.tell(decided.changed)
        self._served = ServedAnswers(
            services.bus,
            decided.served_ms,
            answers_max=settings.answers_remembered_max,
            retry_after_s=retry_after_s,
        )

        def log_served(answer: ServedAnswer) -> None:
            log(answer)
            self._served.remember(answer)

        self.suggestions = Suggestions(
            visitors=self._visitors,
            rank=services.rank,
            why_not=services.why_not,
            properties=services.catalog.properties,
            log=log_served,
            decided=decided,
            placements=self._placements,
            rotation=Rotation(visitors_max=settings.rotation_visitors_max),
            kept_share=settings.answers_kept_share,
        )

    def hot_routes(self, gate: Gate) -> list[Route]:
        """`/v1/recommendations`, and what follows an answer."""
        return recommendations_routes(
            self.suggestions.answer,
            Following(self.suggestions, self._served, self._visitors),
            gate,
            bytes_max=self._settings.recommendations_body_bytes_max,
            discarded_bytes_max=self._settings.discarded_bytes_max,
        )

    def routes(self, gate: Gate) -> list[Route]:
        """All the others."""
        services, settings = self._services, self._settings
        properties, discarded = services.catalog.properties, settings.discarded_bytes_max
        bulk = Bulk(
            self.suggestions,
            self._admission,
            self._status_of,
            lines_max=settings.bulk_lines_max,
            streams_max=settings.bulk_streams_max,
            concurrency=settings.bulk_concurrency,
            retry_after_s=settings.retry_after_s,
        )
        shared = (self._visitors, services.preview, services.merchandising.ledger, self._placements)
        recent = Recent(self._visitors, properties, retry_after_s=settings.retry_after_s)
        return [
            rerank_route(Reranking(self._visitors, services.rerank), gate, discarded_bytes_max=discarded),
            *list_routes(services.rank, services.similar, properties, gate),
            recent_route(recent, gate),
            explain_route(self._served, self._visitors, gate, kept_share=settings.answers_kept_share),
            why_not_route(self.suggestions.why_not, gate),
            *rule_preview_routes(RulePreview(*shared), self._forecast(*shared), gate),
            placements_route(self._placements, self._decided.version_of_placement, gate),
            bulk_route(bulk, gate, bytes_max=settings.bulk_body_bytes_max, discarded_bytes_max=discarded),
        ]

    def _forecast(self, visitors: Visitors, preview: Preview, ledger: Ledger, placements: Placements) -> RuleForecast:
        return RuleForecast(
            visitors,
            preview,
            ledger,
            placements,
            latest=self._served.latest,
            count_clicks=self._services.count_clicks,
            retry_after_s=self._settings.retry_after_s,
        )


def _visitors(services: Services, settings: ApiSettings, admission: Admission) -> Visitors:
    guard = StoreGuard(
        services.read_history,
        failing_ms_max=settings.store_failing_ms_max,
        retry_ms=settings.store_retry_ms,
    )
    return Visitors(
        guard,
        admission,
        secret=services.keys.visitor_secret_bytes,
        store_ms_max=settings.store_ms_max,
        store_share=settings.store_share,
    )
