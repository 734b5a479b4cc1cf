"""What the composition root hands to the application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from api.budget import ReadHistory
from api.catalog_table import CatalogTable
from api.dashboard import OpenStore
from api.earnings import CountEarned
from api.experiment_reports import CountOutcomes
from api.feast_shapes import ReadFeatures
from api.keys import Keys
from api.privacy import Person
from api.reranking import Rerank
from api.routes.events import Accept
from api.routes.health import Check
from api.routes.lists import Similar
from api.rule_forecast import CountClicks
from api.rule_preview import Preview
from api.suggestions import RankedWithout
from ingest.attribution import Names
from ingest.bus.contract import Bus
from recommender.merchandising import MerchandisingLog
from recommender.ranked import Rank
from recommender.rule_set import RuleSet

Background = Callable[[asyncio.Event], Awaitable[None]]
"""Runs beside the requests until the event is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the composition root hands in.

    Attributes:
        accept: the collector's `accept`.
        read_history: the latest events of a visitor key, from the online store; may raise a `FeatureStoreError`.
        read_features: values of features by entity, from the online store.
        person: reads out and erases what is stored under a visitor key.
        rank: the recommender.
        why_not: what the recommender says keeps an item out of an answer.
        rerank: the recommender's order of a shop's own candidates.
        similar: the recommender's list for one item.
        catalog: the table; its `describe` is the recommender's.
        open_store: makes another connection to the online store, for the dashboard's own thread.
        checks: what `/health/ready` reports beside the app's own, by name ("bus", "store").
        required: names of `checks` that must have held once before this process says it is ready.
        background: what else runs beside the requests (following `model`, …).
        snippet: the bytes of `snippet.js`.
        names: of placements and variants; shared with the collector, which reads the tokens of answers.
        use_rules, preview: the recommender's.
        count_outcomes, count_clicks, count_earned: what an experiment's visitors did, what was clicked where, and what
            suggestions earned, from the archive.
        merchandising: the log of what the merchandiser decides, followed beside the requests.
    """

    accept: Accept
    read_history: ReadHistory
    read_features: ReadFeatures
    person: Person
    rank: Rank
    why_not: RankedWithout
    rerank: Rerank
    similar: Similar
    catalog: CatalogTable
    open_store: OpenStore
    bus: Bus
    keys: Keys
    snippet: bytes
    merchandising: MerchandisingLog
    names: Names
    count_outcomes: CountOutcomes
    count_clicks: CountClicks
    count_earned: CountEarned
    use_rules: Callable[[RuleSet], None]
    preview: Preview
    checks: Mapping[str, Check] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    background: Sequence[Background] = ()
