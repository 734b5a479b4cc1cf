"""What rules mean: whom they speak to, what they do to a catalogue, and which of two wins."""

import msgspec
import numpy as np
import pytest

from ingest.catalog import Product
from recommender.filters import Columns
from recommender.models.item_table import ItemTable
from recommender.rule_effects import Effects
from recommender.rule_set import RuleSet, Situation, page_category
from recommender.rules import Condition, Consequence, Period, Rule

_NOW_MS = 1_700_000_000_000
_HOME = Situation("home")


def _facts() -> Columns:
    columns = Columns()
    facts = columns.facts
    facts.describe(Product("pan", category="Home > Kitchen", brand="Acme", price=20.0))
    facts.describe(Product("lamp", category="Home/Light", brand="Acme/Lux", price=30.0))
    facts.describe(Product("hat", category="Clothes", brand="Acme"))
    return columns


def _items(*ids: str) -> ItemTable:
    return ItemTable(ids or ("hat", "lamp", "pan", "unknown"))


def _rule(rule_id: str, consequence: str, **fields: object) -> Rule:
    return msgspec.convert({"rule_id": rule_id, "consequence": consequence, **fields}, Rule)


def _effects(*rules: Rule, situation: Situation = _HOME, now_ms: int = _NOW_MS) -> Effects:
    return RuleSet(rules).effects(situation, now_ms)


def _blocked(effects: Effects, items: ItemTable | None = None, facts: Columns | None = None) -> list[str]:
    items = items if items is not None else _items()
    mask = effects.blocked(items, facts if facts is not None else _facts(), _NOW_MS)
    assert mask is not None
    return [items.item_id(int(row)) for row in np.flatnonzero(mask)]


def test_no_rule_does_nothing() -> None:
    effects = _effects()

    assert not effects
    assert effects.blocked(_items(), _facts(), _NOW_MS) is None
    assert effects.weights(_items(), _facts(), _NOW_MS) is None
    assert effects.pins(_facts()) == []


def test_a_category_means_all_below_it_however_its_levels_are_parted() -> None:
    assert _blocked(_effects(_rule("r", "hide", categories=["Home"]))) == ["lamp", "pan"]
    assert _blocked(_effects(_rule("r", "hide", categories=["Home > Light"]))) == ["lamp"]


def test_a_brand_is_one_name_whatever_it_holds() -> None:
    assert _blocked(_effects(_rule("r", "hide", brands=["Acme"]))) == ["hat", "pan"]


def test_an_item_is_meant_when_every_list_names_it() -> None:
    assert _blocked(_effects(_rule("r", "hide", categories=["Home"], brands=["Acme"]))) == ["pan"]


def test_a_filter_lets_through_what_it_names_and_nothing_undescribed() -> None:
    assert _blocked(_effects(_rule("r", "filter", categories=["Home"]))) == ["hat", "unknown"]


def test_an_expression_means_what_it_holds_for() -> None:
    assert _blocked(_effects(_rule("r", "hide", expression="price > 25"))) == ["lamp"]
    assert _blocked(_effects(_rule("r", "hide", expression="price > 25", brands=["Acme"]))) == []


def test_an_expression_may_ask_for_the_pages_item() -> None:
    dearer = _rule("r", "hide", expression="price > current.price")

    assert _blocked(_effects(dearer, situation=Situation("home", "pan"))) == ["lamp"]
    assert _blocked(_effects(dearer, situation=Situation("home", "lamp"))) == []


def test_an_item_that_the_model_meets_later_is_hidden_from_its_first_row_on() -> None:
    effects, items, facts = _effects(_rule("r", "hide", items=["new"])), _items(), _facts()
    assert _blocked(effects, items, facts) == []
    items.add("new")

    assert _blocked(effects, items, facts) == ["new"]


def test_a_product_that_moves_is_seen_within_a_quarter_of_a_second() -> None:
    effects, items, facts = _effects(_rule("r", "hide", categories=["Sale"])), _items(), _facts()
    assert not np.asarray(effects.blocked(items, facts, _NOW_MS)).any()
    facts.put("hat", Product("hat", category="Sale"))

    mask = effects.blocked(items, facts, _NOW_MS + 250)

    assert mask is not None
    assert mask.tolist() == [True, False, False, False]
    assert effects.blocking_rule("hat", facts) == "r"


def test_boosts_of_one_priority_multiply_and_a_higher_one_replaces_them() -> None:
    effects = _effects(
        _rule("a", "boost", brands=["Acme"], factor=3.0),
        _rule("b", "bury", categories=["Home"], factor=0.5),
        _rule("c", "bury", items=["hat"], factor=0.25, priority=1),
    )

    weights = effects.weights(_items(), _facts(), _NOW_MS)

    assert weights is not None
    assert weights.tolist() == [0.25, 0.5, 1.5, 1.0]
    assert [rule.rule_id for rule in effects.weighing_rules("pan", _facts())] == ["a", "b"]
    assert [rule.rule_id for rule in effects.weighing_rules("hat", _facts())] == ["c"]


def test_of_two_pins_for_a_slot_the_higher_priority_has_it() -> None:
    effects = _effects(_rule("low", "pin", items=["pan", "hat"]), _rule("high", "pin", items=["lamp"], priority=5))

    pins = effects.pins(_facts())

    assert [(pin.slot, pin.item_id, pin.rule_id) for pin in pins] == [
        (1, "lamp", "high"),
        (2, "pan", "low"),
        (3, "hat", "low"),
    ]


@pytest.mark.parametrize(("priority", "pinned"), [(-1, True), (0, False), (1, False)])
def test_a_hidden_item_is_pinned_only_above_the_rule_that_hides_it(priority: int, pinned: bool) -> None:
    effects = _effects(_rule("pin", "pin", items=["pan"]), _rule("hide", "hide", brands=["Acme"], priority=priority))

    assert bool(effects.pins(_facts())) == pinned


@pytest.mark.parametrize(
    ("situation", "speaks"),
    [
        (Situation("home", "pan", "Home > Kitchen", frozenset({"vip"})), True),
        (Situation("cart", "pan", "Home > Kitchen", frozenset({"vip"})), False),
        (Situation("home", "hat", "Home > Kitchen", frozenset({"vip"})), False),
        (Situation("home", "pan", "Clothes", frozenset({"vip"})), False),
        (Situation("home", "pan", "Home / Kitchen", frozenset({"new"})), False),
        (Situation("home", "pan", None, frozenset({"vip"})), False),
    ],
)
def test_a_rule_speaks_when_all_it_asks_for_is_at_hand(situation: Situation, speaks: bool) -> None:
    when = Condition(placements=("home",), items=("pan", "lamp"), categories=("Home",), segments=("vip", "staff"))
    rule = Rule("r", Consequence.HIDE, items=("hat",), when=when)

    assert bool(RuleSet([rule]).effects(situation, _NOW_MS)) == speaks


def test_each_single_condition_is_enough_alone() -> None:
    rules = RuleSet(
        [
            _rule("item", "hide", items=["x"], when={"items": ["pan"]}),
            _rule("category", "hide", items=["x"], when={"categories": ["Home"]}),
            _rule("segment", "hide", items=["x"], when={"segments": ["new"]}),
        ]
    )

    found = [
        [rules.rules[number].rule_id for number in rules.speaking(situation, _NOW_MS)]
        for situation in (
            Situation("p", item="pan"),
            Situation("p", category="Home > Kitchen"),
            Situation("p", segments=frozenset({"new"})),
        )
    ]

    assert found == [["item"], ["category"], ["segment"]]


def test_a_rule_keeps_its_hours_and_expires() -> None:
    rule = Rule(
        "r",
        Consequence.HIDE,
        items=("pan",),
        validity=(Period(100, 200), Period(300)),
        expires_ms=400,
    )
    rules = RuleSet([rule])

    assert [bool(rules.effects(_HOME, now_ms)) for now_ms in (99, 100, 199, 200, 300, 399, 400, 150)] == [
        *(False, True, True, False),
        *(True, True, False, True),
    ]


def test_the_pages_category_is_its_own_or_its_items() -> None:
    facts = _facts()

    assert page_category("pan", None, facts.facts) == "Home > Kitchen"
    assert page_category("pan", "Sale", facts.facts) == "Sale"
    assert page_category("unknown", None, facts.facts) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"consequence": "hide"},
        {"consequence": "pin", "categories": ["Home"]},
        {"consequence": "hide", "items": ["a"], "slot": 2},
        {"consequence": "boost", "items": ["a"], "factor": 0.5},
        {"consequence": "bury", "items": ["a"], "factor": 2},
        {"consequence": "hide", "items": ["a"], "factor": 2},
        {"consequence": "hide", "items": ["a"], "validity": [{"from_ms": 2, "until_ms": 1}]},
        {"consequence": "hide", "items": ["a"], "colour": "red"},
        {"consequence": "hide", "expression": "price <"},
        {"consequence": "pin", "items": ["a"], "expression": "price < 3"},
        {"rule_id": "no spaces", "consequence": "hide", "items": ["a"]},
    ],
)
def test_a_rule_that_cannot_work_is_refused_when_it_is_read(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"rule_id": "r", **fields}, Rule)


def test_a_rule_is_written_and_read_the_same() -> None:
    rule = Rule("r", Consequence.PIN, items=("a",), slot=3, when=Condition(placements=("home",)), priority=7)

    assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule
