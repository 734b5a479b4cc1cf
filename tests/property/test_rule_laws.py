"""Rules in any number and order: masks agree with the single item, order says nothing, one priority decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalog import Product
from recommender.filters import Columns
from recommender.models.item_table import ItemTable
from recommender.rule_set import RuleSet, Situation
from recommender.rules import Condition, Consequence, Rule

_ITEMS = [f"item-{number}" for number in range(8)]
_CATEGORIES = ["A", "A > B", "A/B/C", "D"]
_BRANDS = ["x", "y"]
_NOW_MS = 1_000

expressions = st.none() | st.sampled_from(["price > 2", "category == current.category", "not available"])
names = st.lists(st.sampled_from(_ITEMS), max_size=3, unique=True).map(tuple)
categories = st.lists(st.sampled_from(_CATEGORIES), max_size=2, unique=True).map(tuple)
brands = st.lists(st.sampled_from(_BRANDS), max_size=2, unique=True).map(tuple)
conditions = st.builds(Condition, placements=st.sampled_from([(), ("home",)]), categories=categories, items=names)


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    rules = []
    for number in range(draw(st.integers(0, 6))):
        consequence = draw(st.sampled_from(list(Consequence)))
        pin = consequence is Consequence.PIN
        rules.append(
            Rule(
                f"rule-{number}",
                consequence,
                items=draw(names) or ("item-0",),
                categories=() if pin else draw(categories),
                brands=() if pin else draw(brands),
                expression=None if pin else draw(expressions),
                when=draw(conditions),
                slot=draw(st.integers(1, 4)) if pin else 1,
                priority=draw(st.integers(-1, 1)),
            )
        )
    return rules


products = st.lists(
    st.builds(
        Product,
        item_id=st.sampled_from(_ITEMS),
        category=st.none() | st.sampled_from(_CATEGORIES),
        brand=st.none() | st.sampled_from(_BRANDS),
        price=st.none() | st.sampled_from([1.0, 2.0, 3.0]),
    ),
    max_size=12,
)
situations = st.builds(
    Situation,
    st.sampled_from(["home", "cart"]),
    st.none() | st.sampled_from(_ITEMS),
    st.none() | st.sampled_from(_CATEGORIES),
)


def _facts(products: list[Product]) -> Columns:
    columns = Columns()
    for product in products:
        columns.put(product.item_id, product)
    return columns


@settings(max_examples=200, deadline=None)
@given(rule_lists(), products, situations, st.randoms(use_true_random=False), st.integers(0, 8))
def test_masks_agree_with_the_single_item_and_order_says_nothing(
    rules: list[Rule], products: list[Product], situation: Situation, random: object, met_first: int
) -> None:
    facts, items = _facts(products), ItemTable(_ITEMS[:met_first])
    shuffled = sorted(rules, key=lambda _: random.random())  # type: ignore[attr-defined]
    effects = RuleSet(rules).effects(situation, _NOW_MS)
    other = RuleSet(shuffled).effects(situation, _NOW_MS)
    effects.blocked(items, facts, _NOW_MS)
    for item_id in _ITEMS:
        items.add(item_id)

    blocked, weights = effects.blocked(items, facts, _NOW_MS), effects.weights(items, facts, _NOW_MS)

    for row, item_id in enumerate(_ITEMS):
        assert (blocked is not None and bool(blocked[row])) == (effects.blocking_rule(item_id, facts) is not None)
        product = np.prod([rule.weight for rule in effects.weighing_rules(item_id, facts)])
        np.testing.assert_allclose(1.0 if weights is None else weights[row], product, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(blocked), np.asarray(other.blocked(items, facts, _NOW_MS)))
    np.testing.assert_array_equal(np.asarray(weights), np.asarray(other.weights(items, facts, _NOW_MS)))
    assert effects.pins(facts) == other.pins(facts)


@settings(max_examples=200, deadline=None)
@given(rule_lists(), products, situations)
def test_pins_have_each_a_slot_of_their_own_and_no_item_two(
    rules: list[Rule], products: list[Product], situation: Situation
) -> None:
    pins = RuleSet(rules).effects(situation, _NOW_MS).pins(_facts(products))

    assert len({pin.slot for pin in pins}) == len({pin.item_id for pin in pins}) == len(pins)


@settings(max_examples=200, deadline=None)
@given(rule_lists(), situations)
def test_the_index_finds_what_asking_every_rule_finds(rules: list[Rule], situation: Situation) -> None:
    compiled = RuleSet(rules)

    def speaks(rule: Rule) -> bool:
        when, above = rule.when, (situation.category or "").replace("/", " > ").replace("  ", " ")
        return (
            (not when.placements or situation.placement in when.placements)
            and (not when.items or situation.item in when.items)
            and (
                not when.categories
                or any(
                    f"{above} > ".startswith(category.replace("/", " > ") + " > ")
                    for category in when.categories
                    if situation.category
                )
            )
        )

    found = {compiled.rules[number].rule_id for number in compiled.speaking(situation, _NOW_MS)}

    assert found == {rule.rule_id for rule in rules if speaks(rule)}
