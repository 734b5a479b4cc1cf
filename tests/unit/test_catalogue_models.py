"""What each of the models beside the clicks is for, in the smallest shop that shows it."""

import numpy as np
import pytest

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.models.bought_together import BoughtTogether, BoughtTogetherParameters
from recommender.models.buy_again import BuyAgain, BuyAgainParameters
from recommender.models.content import Content, ContentParameters
from recommender.models.protocol import Prefix
from recommender.models.recently_viewed import RecentlyViewed
from recommender.models.trends import Trends

_DAY_MS = 86_400_000


def _prefix(*events: tuple[int, Kind], apart_ms: int = 1) -> Prefix:
    rows, kinds = (np.array(column) for column in zip(*events, strict=True))
    return Prefix(rows.astype(np.int32), kinds.astype(np.uint8), apart_ms * np.arange(1, len(events) + 1))


def _content(*products: Product) -> Content:
    model = Content(ContentParameters(buckets=1 << 12))
    for row, product in enumerate(products):
        model.describe(row, product)
    return model


def test_what_shares_rare_words_is_more_alike_than_what_shares_common_ones() -> None:
    model = _content(
        Product("0", title="red lantern", category="Home"),
        Product("1", title="blue lantern", category="Home"),
        Product("2", title="red chair", category="Home"),
        *(Product(f"{number}", title="red thing", category="Home") for number in range(3, 12)),
    )

    found = model.scores(_prefix((0, Kind.VIEW)), 3)

    assert found.rows[0] == 1
    assert 0 not in found.rows


def test_near_prices_and_levels_of_a_category_are_alike() -> None:
    model = _content(
        Product("0", category="Home > Light > Lamps", price=20.0),
        Product("1", category="Home > Light > Candles", price=21.0),
        Product("2", category="Home > Kitchen", price=90.0),
        Product("3", category="Toys", price=500.0),
    )

    assert model.scores(_prefix((0, Kind.VIEW)), 4).rows.tolist() == [1, 2]


def test_an_upsert_moves_an_item_and_a_deletion_takes_it_out() -> None:
    model = _content(Product("0", title="lamp"), Product("1", title="lamp"), Product("2", title="chair"))
    assert model.scores(_prefix((0, Kind.VIEW)), 3).rows.tolist() == [1]

    model.describe(2, Product("2", title="lamp"))
    model.describe(1, None)

    assert model.scores(_prefix((0, Kind.VIEW)), 3).rows.tolist() == [2]
    assert model.described.tolist() == [True, False, True]


def test_words_of_any_script_are_words() -> None:
    model = _content(
        Product("0", title="КРАСНАЯ лампа"), Product("1", title="красная, чашка"), Product("2", title="x y")
    )

    assert model.scores(_prefix((0, Kind.VIEW)), 3).rows.tolist() == [1]


def test_a_crowd_of_one_category_is_walked_to_its_limit_newest_first() -> None:
    model = Content(ContentParameters(buckets=64, walk_max=5))
    for row in range(50):
        model.describe(row, Product(f"{row}", category="all"))

    assert model.scores(_prefix((0, Kind.VIEW)), 50).rows.tolist() == [45, 46, 47, 48, 49]


def _baskets(*baskets: tuple[int, ...], kind: Kind = Kind.PURCHASE) -> BoughtTogether:
    model = BoughtTogether(BoughtTogetherParameters(baskets_max=64))
    for number, basket in enumerate(baskets):
        for row in basket:
            model.update(number, row, kind, 1_000)
    return model


def test_what_everybody_buys_is_not_bought_together_with_everything() -> None:
    bread = 9
    model = _baskets((0, 1, bread), (0, 1, bread), (0, 1), *((2 + number, bread) for number in range(6)))

    assert model.scores(_prefix((0, Kind.VIEW)), 2).rows.tolist() == [1, bread]


def test_one_coincidence_is_less_than_a_habit() -> None:
    model = _baskets((0, 1), (0, 1), (0, 1), (0, 2))

    scores = model.scores(_prefix((0, Kind.VIEW)), 2)

    assert scores.rows.tolist() == [1, 2]


def test_put_into_the_cart_and_then_bought_counts_once() -> None:
    both, bought = _baskets((0, 1), kind=Kind.ADD_TO_CART), _baskets((0, 1))
    for row in (0, 1):
        both.update(0, row, Kind.PURCHASE, 1_000)

    found, expected = both.scores(_prefix((0, Kind.VIEW)), 1), bought.scores(_prefix((0, Kind.VIEW)), 1)

    assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), rel=1e-5)


def test_views_make_no_pairs() -> None:
    assert not len(_baskets((0, 1), kind=Kind.VIEW).scores(_prefix((0, Kind.VIEW)), 2).rows)


def test_an_item_is_due_when_its_usual_interval_is_over() -> None:
    model = BuyAgain(BuyAgainParameters(buyers_max=64))
    for buyer in range(5):
        for month in range(4):
            model.update(buyer, 0, Kind.PURCHASE, 1 + buyer + 30 * _DAY_MS * month)
            model.update(buyer, 1, Kind.PURCHASE, 1 + buyer + 5 * _DAY_MS * month)
    bought = _prefix((0, Kind.PURCHASE), (1, Kind.PURCHASE), apart_ms=1)

    after_5_days = model.due(bought, 5 * _DAY_MS, 2)
    after_30_days = model.due(bought, 30 * _DAY_MS, 2)

    assert after_5_days.rows.tolist() == [1, 0]
    assert after_30_days.rows.tolist() == [0, 1]
    assert 3 * _DAY_MS < model.interval_ms(1) < 15 * _DAY_MS < model.interval_ms(0)


def test_what_is_bought_often_comes_before_what_was_bought_once() -> None:
    bought = _prefix((0, Kind.PURCHASE), (1, Kind.PURCHASE), (1, Kind.PURCHASE), (1, Kind.PURCHASE), apart_ms=_DAY_MS)

    assert BuyAgain().scores(bought, 2).rows.tolist() == [1, 0]


def test_what_was_given_back_is_not_bought_again() -> None:
    bought = _prefix((0, Kind.PURCHASE), (1, Kind.PURCHASE), (0, Kind.REFUND))

    assert BuyAgain().scores(bought, 2).rows.tolist() == [1]


def test_recently_viewed_ends_with_the_purchase() -> None:
    seen = _prefix((0, Kind.VIEW), (1, Kind.ADD_TO_CART), (2, Kind.VIEW), (1, Kind.PURCHASE), (0, Kind.VIEW))

    assert RecentlyViewed().scores(seen, 5).rows.tolist() == [0, 2]


def test_what_rises_is_above_its_own_past() -> None:
    model = Trends()
    for day in range(14):
        for _ in range(20):
            model.update(0, 0, Kind.VIEW, (1 + day) * _DAY_MS)
    for _ in range(10):
        model.update(0, 1, Kind.VIEW, 15 * _DAY_MS)

    assert model.scores(_prefix((0, Kind.VIEW)), 2).rows.tolist() == [1]
