"""Whatever is asked of whatever shop: reasons sum to the told score, and an obstacle taken away leaves the others."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalog import Product
from recommender.history import History
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.bought_together import BoughtTogetherParameters
from recommender.models.buy_again import BuyAgainParameters
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.quantized import ServedIals
from recommender.recommender import Recommender
from recommender.requests import Logic, RecommendRequest
from recommender.rule_set import RuleSet
from recommender.rules import Consequence, Rule
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=16),
    session_knn=SessionKnnParameters(sessions_max=16, postings_max=128),
    ials=IalsParameters(factors=8, alpha=20.0, regularization=1.0),
    bought_together=BoughtTogetherParameters(baskets_max=16),
    buy_again=BuyAgainParameters(buyers_max=16),
)
_ITEMS = [f"item-{number}" for number in range(12)]
_EXTRA = ["extra-1", "extra-2"]

item_ids = st.sampled_from([*_ITEMS, *_EXTRA])
subsets = st.lists(item_ids, max_size=4, unique=True).map(tuple)
steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11)), min_size=1, max_size=40)
histories = st.lists(st.tuples(item_ids, st.sampled_from([1, 1, 1, 2, 3, 5])), max_size=10)
chains = st.lists(st.sampled_from(list(Logic)), min_size=1, max_size=3, unique=True)


@st.composite
def requests(draw: st.DrawFn) -> RecommendRequest:
    first, *others = draw(chains)
    return RecommendRequest(
        visitor="v",
        n=draw(st.integers(1, 16)),
        item=draw(st.none() | item_ids),
        cart=draw(subsets),
        exclude=draw(subsets),
        logic=first,
        fallbacks=tuple(others),
        category=draw(st.none() | st.sampled_from(["A", "B"])),
        diversity=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
        filters=draw(st.sampled_from([(), ("price < 6",)])),
    )


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    rules = []
    for number in range(draw(st.integers(0, 4))):
        consequence = draw(st.sampled_from(list(Consequence)))
        named = draw(subsets) or ("item-0",)
        categories = draw(st.sampled_from([(), ("A",)])) if consequence is not Consequence.PIN else ()
        items = () if categories else named
        priority = draw(st.integers(0, 1))
        rules.append(Rule(f"rule-{number}", consequence, items=items, categories=categories, priority=priority))
    return rules


def _shop(steps: list[tuple[int, int]], rules: list[Rule], unavailable: tuple[str, ...]) -> Recommender:
    model = LiveModel("v1", _PARAMETERS)
    ordered = sorted(steps)
    for _, item in ordered:
        model.items.add(_ITEMS[item])
    rows = np.array([model.items.row(_ITEMS[item]) for _, item in ordered], np.int32)
    kinds = np.where(np.arange(len(ordered)) % 4, 1, 5).astype(np.uint8)
    sessions = np.array([session for session, _ in ordered], np.int64)
    model.learn(Events(sessions, rows, kinds, _NOW_MS - 100_000 + np.arange(len(ordered))))
    vectors = np.random.default_rng(0).normal(size=(len(model.items), 8)).astype(np.float32)
    model.replace_ials(ServedIals(_PARAMETERS.ials, vectors))
    recommender = Recommender(RecommenderSettings(explore_share=0.0), extra_candidates=lambda: [*_ITEMS, *_EXTRA])
    recommender.use(model)
    for number, item_id in enumerate([*_ITEMS, *_EXTRA]):
        availability = "out_of_stock" if item_id in unavailable else "in_stock"
        product = Product(
            item_id,
            category="AB"[number % 2],
            price=1.0 + number,
            title=f"thing {number % 3}",
            availability=availability,  # type: ignore[arg-type]
        )
        recommender.describe(item_id, product)
    recommender.use_rules(RuleSet(rules))
    return recommender


def _history(events: list[tuple[str, int]]) -> History:
    times_ms = _NOW_MS - 1_000 * np.arange(len(events), 0, -1, dtype=np.int64)
    return History(tuple(item for item, _ in events), times_ms, np.array([kind for _, kind in events], np.uint8))


@settings(max_examples=120, deadline=None)
@given(steps, rule_sets(), requests(), histories, subsets)
def test_reasons_sum_to_the_told_score(
    steps: list[tuple[int, int]],
    rules: list[Rule],
    request: RecommendRequest,
    events: list[tuple[str, int]],
    unavailable: tuple[str, ...],
) -> None:
    recommender, history = _shop(steps, rules, unavailable), _history(events)
    explained = msgspec.structs.replace(request, explain=True)

    ranked = recommender.recommend(explained, history, _NOW_MS, 200.0)

    plain = recommender.recommend(request, history, _NOW_MS, 200.0)
    assert [(item.id, item.score) for item in ranked.items] == [(item.id, item.score) for item in plain.items]
    own = {*history.item_ids, request.item, *request.cart}
    for item in ranked.items:
        shares = [reason for reason in item.reasons if reason.share is not None]
        # A new item or a pin that no list had has neither a score nor reasons.
        assert abs(sum(reason.share or 0.0 for reason in shares) - item.score) < 1e-5, item
        assert all(reason.item is None or reason.item in own for reason in shares)


@settings(max_examples=200, deadline=None)
@given(steps, rule_sets(), requests(), histories, subsets, item_ids)
def test_an_obstacle_taken_away_leaves_the_others_in_the_way(
    steps: list[tuple[int, int]],
    rules: list[Rule],
    request: RecommendRequest,
    events: list[tuple[str, int]],
    unavailable: tuple[str, ...],
    item_id: str,
) -> None:
    recommender, history = _shop(steps, rules, unavailable), _history(events)

    told = recommender.why_not(item_id, request, history, _NOW_MS)

    shown = [item.id for item in recommender.recommend(request, history, _NOW_MS, 200.0).items]
    assert (item_id in shown) == (not told.obstacles)
    if not told.obstacles:
        assert shown[(told.slot or 0) - 1] == item_id
        return
    first = told.obstacles[0]
    if first.kind == "outranked":
        if first.rank is not None and not request.diversity:
            more = msgspec.structs.replace(request, n=first.rank)
            longer = [item.id for item in recommender.recommend(more, history, _NOW_MS, 200.0).items]
            assert longer.index(item_id) == first.rank - 1
            assert [above.id for above in first.above] == longer[: first.rank - 1]
        return
    if first.rule == "excluded":
        request = msgspec.structs.replace(request, exclude=tuple(set(request.exclude) - {item_id}))
    elif first.rule == "availability":
        recommender.describe(item_id, msgspec.structs.replace(_product(recommender, item_id), availability="in_stock"))
    elif first.rule == "filter":
        request = msgspec.structs.replace(request, filters=())
    elif first.rule is not None and first.rule.startswith("rule-"):
        recommender.use_rules(RuleSet([rule for rule in rules if rule.rule_id != first.rule]))
    else:
        assert first.rule in ("page-item", "in-cart", "bought")
        return
    left = recommender.why_not(item_id, request, history, _NOW_MS)
    names = [(obstacle.kind, obstacle.rule) for obstacle in left.obstacles]
    rules_told = [(obstacle.kind, obstacle.rule) for obstacle in told.obstacles[1:]]
    if rules_told and rules_told[-1][0] == "rule":
        assert names[: len(rules_told)] == rules_told
    assert (first.kind, first.rule) not in names


def _product(recommender: Recommender, item_id: str) -> Product:
    product = recommender.facts.product(item_id)
    assert product is not None
    return product


def test_an_item_that_nobody_has_heard_of_is_unknown() -> None:
    told = _shop([(0, 0)], [], ()).why_not("nothing", RecommendRequest("v"), _history([]), _NOW_MS)

    assert [obstacle.kind for obstacle in told.obstacles] == ["unknown"]


def test_a_cart_and_a_rule_are_told_in_the_order_in_which_they_act() -> None:
    rules = [Rule("no-0", Consequence.HIDE, items=("item-0",))]
    request = RecommendRequest("v", cart=("item-0",))

    told = _shop([(0, 0), (0, 1)], rules, ("item-0",)).why_not("item-0", request, _history([]), _NOW_MS)

    assert [obstacle.rule for obstacle in told.obstacles] == ["in-cart", "availability", "no-0"]
