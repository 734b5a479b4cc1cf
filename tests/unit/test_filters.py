"""The filter language, as a shop's developer meets it."""

import numpy as np
import pytest

from ingest.catalog import Product
from recommender.errors import ExpressionError
from recommender.filters import BOOST_MAX, Columns, Filters
from recommender.models.item_table import ItemTable


def _shop() -> Columns:
    columns = Columns()
    columns.put("mug", Product("mug", title="Blue Mug", price=4.5, category="kitchen", brand="Acme", margin=0.5))
    columns.put("pot", Product("pot", title="Pot", price=49.99, category="kitchen", availability="out_of_stock"))
    columns.put("lamp", Product("lamp", title="Lamp", price=80.0, category="light", brand="Lux"))
    columns.put("gift", Product("gift", title="Gift card"))
    return columns


def _passing(text: str, *, current: str | None = None) -> list[str]:
    columns = _shop()
    mask = Filters().filter(text).mask(columns, current=current)
    return [columns.facts.items.ids[row] for row in np.flatnonzero(mask)]


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("price < 50 and category == current.category", ["mug", "pot"]),
        ("price < 50 AND NOT (brand == 'Acme')", ["pot"]),
        ("price == 49.99", ["pot"]),
        ('category in ("light", "garden")', ["lamp"]),
        ('title contains "mUG" or title starts_with "gift"', ["mug", "gift"]),
        ("price == null", ["gift"]),
        ("brand != 'Acme'", ["pot", "lamp", "gift"]),
        ("brand != null and brand != 'Acme'", ["lamp"]),
        ("not (price < 50)", ["lamp", "gift"]),
        ("price * (1 - margin) < 3", ["mug"]),
        ("price / 0 == null", ["mug", "pot", "lamp", "gift"]),
        ("available", ["mug", "lamp", "gift"]),
        ("price >= current.price * 2 and item_id != current.item_id", ["pot", "lamp"]),
        ("true or false and false", ["mug", "pot", "lamp", "gift"]),
        ("item_id in ('lamp', 'nothing')", ["lamp"]),
    ],
)
def test_an_expression_chooses(text: str, passing: list[str]) -> None:
    assert _passing(text, current="mug") == passing


def test_without_a_page_item_nothing_is_like_it() -> None:
    assert _passing("category == current.category") == []


@pytest.mark.parametrize(
    ("text", "column", "wanted", "next_step"),
    [
        ("price < 50 and categry == 'x'", 16, "a field of", "did you mean `category`?"),
        ("price < '50'", 9, "a number", "contains"),
        ("price = 50", 7, "an operator", "`==` compares"),
        ("price < 50 &&", 12, "an operator", "write `and`"),
        ("price", 1, "a condition", "compare it"),
        ("price < ", 9, "a field", "docs/filters.md"),
        ("(price < 5", 11, "`)`", "docs/filters.md"),
        ("title contains brand", 16, "a text in quotes", "docs/filters.md"),
        ("brand == 'Acme", 10, "a closing '", "close the text"),
        ("brand < 'Acme'", 1, "a number", "texts can be compared"),
        ("price in (1, 'x')", 14, "a number written down", "docs/filters.md"),
        ("brand == null null", 15, "the end", "docs/filters.md"),
        ("__import__('os')", 1, "a field of", "quotes"),
        ("price < null", 7, "`== null`", "docs/filters.md"),
        ("price < 50 " + "and price < 50 " * 200, 2001, "at most 2000 characters", "shorten"),
    ],
)
def test_an_error_points_at_the_column(text: str, column: int, wanted: str, next_step: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Filters().filter(text)

    assert caught.value.column == column
    assert wanted in caught.value.wanted
    assert next_step in caught.value.next_step
    assert caught.value.got


def test_a_booster_weighs_and_is_held_within_bounds() -> None:
    weights = Filters().booster("if brand == 'Acme' then 1.5 else price").weights(_shop())

    np.testing.assert_allclose(weights, [1.5, 49.99, 80.0, 1.0], rtol=1e-6)
    assert Filters().booster("price * 1000").weights(_shop()).max() == BOOST_MAX
    assert Filters().booster("0 - price").weights(_shop()).tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_condition_is_no_booster() -> None:
    with pytest.raises(ExpressionError, match="if … then"):
        Filters().booster("price < 5")


def test_a_model_asks_for_its_own_rows() -> None:
    columns = _shop()
    items = ItemTable(["lamp", "never described", "mug"])
    compiled = Filters().filter("price < 50 or title == null")

    first = compiled.mask_on(columns, items)
    items.add("pot")

    assert first.tolist() == [False, True, True]
    assert compiled.mask_on(columns, items).tolist() == [False, True, True, True]


def test_a_mask_is_kept_until_something_it_reads_changes() -> None:
    columns, compiled = _shop(), Filters().filter("price < 50")
    first = compiled.mask(columns)
    columns.put("lamp", Product("lamp", title="Another title", price=80.0, category="light"))

    assert compiled.mask(columns) is first
    columns.put("lamp", Product("lamp", price=8.0))
    assert compiled.mask(columns).tolist() == [True, True, True, False]


def test_each_text_is_parsed_once_and_the_longest_unused_is_dropped() -> None:
    filters = Filters(parsed_max=2)
    first = filters.filter("price < 1")

    assert filters.filter("price < 1") is first
    filters.filter("price < 2")
    filters.filter("price < 3")
    assert filters.filter("price < 1") is not first


def test_texts_nobody_holds_are_forgotten() -> None:
    columns = Columns()
    columns.column("title")

    for night in range(1_000):
        columns.put("mug", Product("mug", title=f"Mug, tonight only {night}"))

    assert len(columns.texts) == 1
