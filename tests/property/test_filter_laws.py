"""Filters and boosters over columns, against a slow reading of the same expression item by item."""

import math
import operator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.catalog import Product
from recommender.errors import ExpressionError
from recommender.filters import BOOST_MAX, FEATURES, FIELDS, Booster, Columns, Filter, parse
from recommender.filters.fields import fact
from recommender.filters.tokens import KEYWORDS
from recommender.filters.tree import (
    Among,
    Both,
    Calculate,
    Choice,
    Compare,
    Constant,
    Either,
    Field,
    Match,
    Missing,
    Node,
    Not,
)
from recommender.models.item_table import ItemTable

_texts = st.sampled_from(["", "mug", "Mugs", "lamp", "a mug", "no item has this"])
_numbers = st.sampled_from([0.0, 1.0, 2.5, 19.99, 50.0, 1e308])
_products = st.builds(
    Product,
    item_id=st.just(""),
    title=_texts,
    price=st.none() | _numbers,
    category=st.none() | _texts,
    brand=st.none() | _texts,
    availability=st.sampled_from(["in_stock", "out_of_stock", "preorder"]),
    margin=st.none() | _numbers | _numbers.map(operator.neg),
)
_catalogues = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), st.none() | _products, max_size=5).map(
    lambda catalogue: {
        item_id: product and msgspec.structs.replace(product, item_id=item_id) for item_id, product in catalogue.items()
    }
)

_quoted = _texts.map(lambda text: f'"{text}"')
_text_fields = st.sampled_from([name for name, kind in FIELDS.items() if kind == "text"])
_number_fields = st.sampled_from(["price", "margin", "popularity"])


def _of_current(fields: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return fields | fields.map(lambda name: f"current.{name}")


_text_values = _of_current(_text_fields) | _quoted
_number_values = st.deferred(
    lambda: (
        _of_current(_number_fields)
        | _numbers.map(lambda number: f"{number!r}")
        | st.tuples(_number_values, st.sampled_from("+-*/"), _number_values).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | _number_values.map(lambda value: f"-{value}")
        | st.tuples(_conditions, _number_values, _number_values).map(lambda t: f"(if {t[0]} then {t[1]} else {t[2]})")
    )
)
_conditions = st.deferred(
    lambda: (
        st.sampled_from(["true", "false", "available", "current.available"])
        | st.tuples(_number_values, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), _number_values).map(" ".join)
        | st.tuples(_text_values, st.sampled_from(["==", "!="]), _text_values).map(" ".join)
        | st.tuples(_text_values | _number_values, st.sampled_from(["== null", "!= null"])).map(" ".join)
        | st.tuples(_text_values, st.sampled_from(["in", "not in"]), st.lists(_quoted, min_size=1, max_size=3)).map(
            lambda t: f"{t[0]} {t[1]} ({', '.join(t[2])})"
        )
        | st.tuples(_number_values, st.lists(_numbers, min_size=1, max_size=3)).map(
            lambda t: f"{t[0]} in ({', '.join(map(repr, t[1]))})"
        )
        | st.tuples(_text_values, st.sampled_from(["contains", "not starts_with", "starts_with"]), _quoted).map(
            " ".join
        )
        | st.tuples(_conditions, st.sampled_from(["and", "or"]), _conditions).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | _conditions.map(lambda condition: f"not ({condition})")
    )
)

Facts = dict[str, Any]


def _slow(node: Node, item: Facts, current: Facts) -> Any:
    """One item's value, None when it is not known."""
    match node:
        case Constant():
            return node.value if node.value != "" else None
        case Field():
            return (current if node.of_current else item)[node.name]
        case Missing():
            return _slow(node.inner, item, current) is None
        case Not():
            return not _slow(node.inner, item, current)
        case Both():
            return bool(_slow(node.left, item, current) and _slow(node.right, item, current))
        case Either():
            return bool(_slow(node.left, item, current) or _slow(node.right, item, current))
        case Compare():
            left, right = _slow(node.left, item, current), _slow(node.right, item, current)
            compare = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
            return left is not None and right is not None and compare[node.sign](left, right)
        case Among():
            return _slow(node.left, item, current) in [value for value in node.values if value != ""]
        case Match():
            left = _slow(node.left, item, current)
            if left is None:
                return False
            text, needle = left.casefold(), node.text.casefold()
            return text.startswith(needle) if node.at_start else needle in text
        case Calculate():
            return _slow_sum(node.sign, _slow(node.left, item, current), _slow(node.right, item, current))
        case Choice():
            return _slow(node.one if _slow(node.condition, item, current) else node.other, item, current)
    raise AssertionError(node)


def _slow_sum(sign: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    calculate = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
    result = calculate[sign](left, right)
    return result if math.isfinite(result) else None


def _facts(item_id: str, product: Product | None, popularity: dict[str, float]) -> Facts:
    facts = {name: fact(product, name) for name in FIELDS if name not in FEATURES}
    return facts | {"item_id": item_id, "popularity": popularity.get(item_id), "trend": None}


_NOTHING: Facts = {name: False if kind == "truth" else None for name, kind in FIELDS.items()}


def _columns(catalogue: dict[str, Product | None]) -> tuple[Columns, dict[str, float]]:
    columns = Columns()
    # One is asked for before the products come: it must keep up.
    columns.column("category")
    columns.put("b", Product("b", title="mug", category="lamp", price=3.0))
    for item_id, product in catalogue.items():
        columns.put(item_id, product)
    items = ItemTable(["d", "a", "new"])
    columns.put_feature("popularity", items, np.array([2.5, 50.0], np.float32))
    columns.follow(items)
    return columns, {"d": 2.5, "a": 50.0}


def _cases(catalogue: dict[str, Product | None], current: str | None) -> tuple[Columns, list[Facts], Facts]:
    columns, popularity = _columns(catalogue)
    facts = [_facts(item_id, columns.facts.product(item_id), popularity) for item_id in columns.facts.items.ids]
    at_hand = (
        _NOTHING
        if current is None or columns.facts.items.row(current) is None
        else facts[columns.facts.items.row(current) or 0]
    )
    return columns, facts, at_hand


@given(_conditions, _catalogues, st.none() | st.sampled_from(["a", "b", "nobody"]))
def test_a_mask_is_the_slow_reading_of_every_item(
    text: str, catalogue: dict[str, Product | None], current: str | None
) -> None:
    columns, facts, at_hand = _cases(catalogue, current)

    mask = Filter(text).mask(columns, current=current)

    assert mask.tolist() == [bool(_slow(parse(text), item, at_hand)) for item in facts]


@given(_number_values, _catalogues, st.none() | st.sampled_from(["a", "b", "nobody"]))
def test_weights_are_the_slow_reading_within_their_bounds(
    text: str, catalogue: dict[str, Product | None], current: str | None
) -> None:
    columns, facts, at_hand = _cases(catalogue, current)

    weights = Booster(text).weights(columns, current=current)

    slow = [_slow(parse(text), item, at_hand) for item in facts]
    expected = [1.0 if value is None else min(max(value, 0.0), BOOST_MAX) for value in slow]
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


@given(_conditions, _catalogues, _catalogues)
def test_a_mask_follows_every_change_of_the_catalogue(
    text: str, before: dict[str, Product | None], after: dict[str, Product | None]
) -> None:
    columns, _, _ = _cases(before, None)
    compiled = Filter(text)
    compiled.mask(columns, current="a")
    for item_id, product in after.items():
        columns.put(item_id, product)

    fresh = Columns()
    fresh.follow(ItemTable(columns.facts.items.ids))
    for item_id in columns.facts.items.ids:
        fresh.put(item_id, columns.facts.product(item_id))
    fresh.put_feature("popularity", ItemTable(["d", "a", "new"]), np.array([2.5, 50.0], np.float32))

    assert compiled.mask(columns, current="a").tolist() == Filter(text).mask(fresh, current="a").tolist()


_words = st.sampled_from(
    [*FIELDS, *KEYWORDS, "current.price", *"<>()+-*/,!=&", "==", "<=", '"mug"', "'", "1", ".5", " "]
)


@given(st.text(max_size=60) | st.lists(_words, max_size=30).map(" ".join))
def test_any_text_is_an_expression_or_refused_at_one_of_its_columns(text: str) -> None:
    refusal = None
    try:
        parse(text)
    except ExpressionError as error:
        refusal = error

    assert refusal is None or (1 <= refusal.column <= len(text) + 1 and refusal.wanted and refusal.next_step)


@pytest.mark.parametrize("opening", ["(", "not ", "-", "if ", "if true then "])
def test_deep_nesting_is_refused_and_not_a_crash(opening: str) -> None:
    with pytest.raises(ExpressionError, match=r"32 brackets|500 words|2000 characters"):
        parse(opening * 400 + "1")
