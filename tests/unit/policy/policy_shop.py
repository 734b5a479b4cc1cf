"""A small shop for the tests of logics and policy: a model, a catalogue, and ways to ask."""

import numpy as np

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.history import EMPTY_HISTORY, History
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.bought_together import BoughtTogetherParameters
from recommender.models.buy_again import BuyAgainParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.ranked import Ranked
from recommender.recommender import Recommender
from recommender.requests import RecommendRequest
from recommender.rule_set import RuleSet
from recommender.rules import Rule
from recommender.settings import RecommenderSettings

NOW_MS = 1_700_000_000_000
PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=64),
    session_knn=SessionKnnParameters(sessions_max=64, postings_max=512),
    bought_together=BoughtTogetherParameters(baskets_max=64),
    buy_again=BuyAgainParameters(buyers_max=64),
)
SESSIONS = (("a", "b", "c"), ("a", "b", "d"), ("a", "b"), ("e", "f"), ("e", "f", "g"), ("h",), ("h",), ("h",), ("h",))
CATEGORIES = {"a": "X", "b": "X", "c": "X", "d": "X > Y", "e": "Z", "f": "Z", "g": "Z", "h": "Z"}


def model_of(sessions: tuple[tuple[str, ...], ...] = SESSIONS, baskets: tuple[tuple[str, ...], ...] = ()) -> LiveModel:
    model = LiveModel("v1", PARAMETERS)
    every = [(sessions, Kind.VIEW), (baskets, Kind.PURCHASE)]
    steps = [
        (number + 100 * kind, model.items.add(item), kind)
        for lists, kind in every
        for number, session in enumerate(lists)
        for item in session
    ]
    numbers, rows, kinds = np.array(steps, np.int64).reshape(-1, 3).T
    times_ms = NOW_MS - 60_000 + np.arange(len(steps))
    model.learn(Events(np.ascontiguousarray(numbers), rows.astype(np.int32), kinds.astype(np.uint8), times_ms))
    return model


def shop(
    *rules: Rule,
    model: LiveModel | None = None,
    products: dict[str, Product] | None = None,
    settings: RecommenderSettings | None = None,
) -> Recommender:
    without_chance = RecommenderSettings(shuffle_share=0.0, explore_share=0.0)
    recommender = Recommender(settings if settings is not None else without_chance)
    recommender.use(model if model is not None else model_of())
    described = {item: Product(item, category=category, price=5.0) for item, category in CATEGORIES.items()}
    for item_id, product in {**described, **(products or {})}.items():
        recommender.describe(item_id, product)
    recommender.use_rules(RuleSet(rules))
    return recommender


def events(*done: tuple[str, Kind], apart_ms: int = 1, ago_ms: int = 0) -> History:
    times_ms = NOW_MS - ago_ms - apart_ms * np.arange(len(done), 0, -1, dtype=np.int64)
    return History(tuple(item for item, _ in done), times_ms, np.array([kind for _, kind in done], np.uint8))


def viewed(*items: str) -> History:
    return events(*((item, Kind.VIEW) for item in items))


def ask(recommender: Recommender, history: History = EMPTY_HISTORY, **asked: object) -> Ranked:
    fields: dict[str, object] = {"visitor": "v", **asked}
    return recommender.recommend(RecommendRequest(**fields), history, NOW_MS, 200.0)  # type: ignore[arg-type]


def ids(ranked: Ranked) -> list[str]:
    return [item.id for item in ranked.items]
