"""What is kept of an answer makes the same answer again, whatever the model, the rules and chance did to it."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.answered_again import answered_again
from recommender.history import History
from recommender.kept_answer import KeptAnswer
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.ials import Ials, IalsParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.recommender import Recommender
from recommender.requests import Logic, RecommendRequest
from recommender.rule_set import RuleSet
from recommender.rules import Consequence, Rule
from recommender.settings import RecommenderSettings

_NOW_MS = 1_700_000_000_000
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=16),
    session_knn=SessionKnnParameters(sessions_max=16, postings_max=256),
    ials=IalsParameters(factors=8),
)
_ITEMS = [f"item-{number}" for number in range(60)]
_RULES = (
    Rule("boosted", Consequence.BOOST, categories=("odd",), factor=1.7),
    Rule("buried", Consequence.BURY, items=("item-3", "item-6", "item-9"), factor=0.4),
    Rule("hidden", Consequence.HIDE, items=("item-4",)),
    Rule("pinned", Consequence.PIN, items=("item-7", "item-40"), slot=2),
)
_CHANCE = RecommenderSettings(shuffle_share=0.4, explore_share=0.3, impression_discount=0.2)

item_ids = st.sampled_from(_ITEMS)
requests = st.builds(
    RecommendRequest,
    visitor=st.text("abcdef", min_size=1, max_size=6),
    n=st.integers(1, 30),
    item=st.none() | item_ids,
    exclude=st.lists(item_ids, max_size=5).map(tuple),
    logic=st.none() | st.sampled_from(list(Logic)),
    fallbacks=st.sampled_from([(), (Logic.PERSONAL,)]),
    diversity=st.none() | st.floats(0, 1),
    boosters=st.sampled_from([(), ("if price > 30 then 1.3 else 1",)]),
    filters=st.sampled_from([(), ("price > 4",)]),
    min_relevance=st.sampled_from(["low", "medium", "high"]),
    worn=st.dictionaries(item_ids, st.floats(0.1, 1), max_size=4),
)


def _recommender(seed: int, *, factors: bool, rules: tuple[Rule, ...]) -> Recommender:
    rng = np.random.default_rng(seed)
    model = LiveModel("v1", _PARAMETERS)
    known = _ITEMS[:50]
    for item_id in known:
        model.items.add(item_id)
    rows = rng.zipf(1.3, 150) % len(known)
    model.learn(
        Events(
            np.sort(rng.integers(0, 16, len(rows))).astype(np.int64),
            rows.astype(np.int32),
            np.full(len(rows), Kind.VIEW, np.uint8),
            _NOW_MS - 1_000 + np.arange(len(rows)),
        )
    )
    if factors:
        vectors = rng.normal(size=(len(known), 8)).astype(np.float32)
        model.ials.set_block({"rows": np.arange(len(known), dtype=np.int32), "vectors": vectors})
        assert isinstance(model.ials, Ials)
    recommender = Recommender(_CHANCE, extra_candidates=lambda: _ITEMS)
    recommender.use(model)
    for number, item_id in enumerate(_ITEMS):
        recommender.describe(item_id, Product(item_id, category="odd" if number % 2 else "even", price=float(number)))
    recommender.use_rules(RuleSet(rules))
    return recommender


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 50),
    factors=st.booleans(),
    rules=st.lists(st.sampled_from(_RULES), unique=True).map(tuple),
    request=requests,
    seen=st.lists(item_ids, max_size=12),
    shown=st.lists(item_ids, max_size=12).map(tuple),
    time_left_ms=st.sampled_from([200.0, 3.5, 0.0]),
)
def test_the_same_answer_is_made_of_what_was_kept_of_it(
    seed: int,
    factors: bool,
    rules: tuple[Rule, ...],
    request: RecommendRequest,
    seen: list[str],
    shown: tuple[str, ...],
    time_left_ms: float,
) -> None:
    kinds = np.full(len(seen), Kind.VIEW, np.uint8)
    history = History(tuple(seen), _NOW_MS - len(seen) + np.arange(len(seen), dtype=np.int64), kinds, shown)
    keeping = msgspec.structs.replace(request, keep=True)

    plain = _recommender(seed, factors=factors, rules=rules).recommend(request, history, _NOW_MS, time_left_ms)
    kept = _recommender(seed, factors=factors, rules=rules).recommend(keeping, history, _NOW_MS, time_left_ms)

    assert msgspec.structs.replace(kept, kept=None) == plain
    stored = msgspec.json.decode(msgspec.json.encode(kept.kept), type=KeptAnswer)
    item_ids, scores = answered_again(stored)
    assert item_ids == [item.id for item in plain.items]
    assert scores == [item.score for item in plain.items]
