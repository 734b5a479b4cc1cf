"""Which lists each logic asks, what stands in for them, and how an answer says so."""

import pytest

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.requests import Logic
from tests.unit.policy.policy_shop import ask, events, ids, model_of, shop, viewed

_DAY_MS = 86_400_000


def test_related_follows_the_pages_item_and_not_the_visitor() -> None:
    ranked = ask(shop(), viewed("e", "f"), n=2, item="a", logic=Logic.RELATED)

    assert ids(ranked)[0] == "b"
    assert (ranked.served_by, ranked.degraded) == ("related", None)


def test_related_to_an_item_that_nobody_clicked_is_what_is_alike() -> None:
    new = Product("new", title="red lamp", category="Light", price=9.0)
    like_it = Product("cold", title="red lamp", category="Light", price=9.5)
    recommender = shop(products={"new": new, "cold": like_it})

    ranked = ask(recommender, n=1, item="new", logic=Logic.RELATED)

    assert ids(ranked) == ["cold"]
    assert (ranked.served_by, ranked.degraded) == ("alike", None)


def test_complementary_is_what_is_bought_with_the_cart() -> None:
    recommender = shop(model=model_of(baskets=(("a", "g"), ("a", "g"), ("a", "c"))))

    ranked = ask(recommender, n=2, cart=("a",), logic=Logic.COMPLEMENTARY)

    assert ids(ranked) == ["g", "c"]
    assert (ranked.served_by, ranked.degraded) == ("bought-together", None)


def test_what_stands_in_for_a_logic_says_so() -> None:
    ranked = ask(shop(), viewed("a"), n=2, logic=Logic.COMPLEMENTARY, fallbacks=(Logic.PERSONAL,))

    assert ids(ranked)[0] == "b"
    assert (ranked.served_by, ranked.degraded) == ("ranker", "fallback")


def test_trending_begins_with_the_pages_category() -> None:
    sessions = (("a",), ("b",), *((("h",),) * 9))
    recommender = shop(model=model_of(sessions))

    within = ask(recommender, n=3, category="X", logic=Logic.TRENDING)
    everywhere = ask(recommender, n=3, logic=Logic.TRENDING)

    assert ids(within) == ["b", "a", "h"]
    assert ids(everywhere)[0] == "h"
    assert (within.served_by, within.degraded) == ("trending", None)


def test_recent_is_the_visitors_own_and_not_filled_up() -> None:
    history = events(("a", Kind.VIEW), ("unknown", Kind.VIEW), ("b", Kind.VIEW), ("a", Kind.VIEW), ("c", Kind.PURCHASE))

    ranked = ask(shop(), history, logic=Logic.RECENT)

    assert ids(ranked) == ["a", "b", "unknown"]
    assert (ranked.served_by, ranked.degraded) == ("recent", None)


def test_recent_of_a_stranger_is_empty_and_says_why() -> None:
    ranked = ask(shop(), logic=Logic.RECENT)

    assert (ranked.items, ranked.served_by, ranked.degraded) == ((), "none", "no-history")


def test_buy_again_puts_what_is_due_first_and_leaves_out_the_cart() -> None:
    history = events(("a", Kind.PURCHASE), ("b", Kind.PURCHASE), ("c", Kind.PURCHASE), apart_ms=15 * _DAY_MS)

    ranked = ask(shop(), history, cart=("c",), logic=Logic.BUY_AGAIN)

    # 45 and 30 days ago, where the usual interval is 30; and `c` lies in the cart.
    assert ids(ranked) == ["b", "a"]
    assert ranked.served_by == "buy-again"


def test_a_chain_that_ends_in_personal_is_filled_up_without_what_was_bought() -> None:
    history = events(("a", Kind.PURCHASE), ("b", Kind.VIEW), apart_ms=_DAY_MS)

    ranked = ask(shop(), history, logic=Logic.BUY_AGAIN, fallbacks=(Logic.RECENT, Logic.PERSONAL))

    assert ids(ranked)[:2] == ["a", "b"]
    assert set(ids(ranked)) == set("abcdefgh")


@pytest.mark.parametrize("logic", list(Logic))
def test_every_logic_answers_without_a_model(logic: Logic) -> None:
    recommender = shop()
    recommender.use(None)

    ranked = ask(recommender, viewed("a"), item="b", cart=("c",), logic=logic)

    assert set(ids(ranked)) <= set("abcdefgh")
    assert "b" not in ids(ranked)


def test_similar_to_what_nobody_clicked_is_what_is_alike() -> None:
    lamps = {name: Product(name, title="red lamp", category="Light") for name in ("lamp-1", "lamp-2", "lamp-3")}
    recommender = shop(products={**lamps, "lamp-3": Product("lamp-3", title="red lamp", availability="out_of_stock")})

    assert [item.id for item in recommender.similar("lamp-1", 5)] == ["lamp-2"]
    assert recommender.similar("never heard of", 5) == ()
