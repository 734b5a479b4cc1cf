"""Product facts as columns, in step with the catalogue and with a model's rows."""

import numpy as np

from ingest.catalog import Product
from recommender.facts import NO_CODE, Facts, levels
from recommender.models.item_table import ItemTable


def test_levels_of_a_category_begin_at_the_widest() -> None:
    assert levels("Home > Kitchen/Knives") == ["Home", "Home > Kitchen", "Home > Kitchen > Knives"]
    assert levels("/") == ["/"]


def test_an_upsert_replaces_all_that_was_said() -> None:
    facts = Facts()
    facts.describe(Product("a", price=1.0, category="X", brand="b"))

    facts.describe(Product("a", price=2.0))

    assert (facts.price.tolist(), facts.category.tolist(), facts.brand.tolist()) == ([2.0], [NO_CODE], [NO_CODE])
    assert len(facts) == 1


def test_what_the_shop_takes_out_is_unknown_again() -> None:
    facts = Facts()
    facts.describe(Product("a", price=1.0, category="X"))

    facts.forget("a")
    facts.forget("never known")

    assert facts.product("a") is None
    assert np.isnan(facts.price[0])
    assert facts.category[0] == NO_CODE


def test_rows_find_their_places_whoever_came_first() -> None:
    facts, items = Facts(), ItemTable(["a", "b"])
    facts.describe(Product("b", category="X"))
    assert facts.places(items).tolist() == [NO_CODE, 0]
    facts.describe(Product("a", category="Y"))
    items.add("c")

    assert facts.places(items).tolist() == [1, 0, NO_CODE]
    assert facts.of_rows(facts.category, items).tolist() == [1, 0, NO_CODE]
    assert facts.of_rows(facts.category, items, begin=1).tolist() == [0, NO_CODE]
