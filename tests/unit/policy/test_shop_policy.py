"""What the shop's policy does to an answer: who may be in it, what counts more, and who stands in which slot."""

import msgspec
import pytest
from prometheus_client import REGISTRY

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.requests import Logic, Reason
from recommender.rules import Rule
from recommender.settings import RecommenderSettings
from tests.unit.policy.policy_shop import ask, events, ids, shop, viewed


def _rule(rule_id: str, consequence: str, **fields: object) -> Rule:
    return msgspec.convert({"rule_id": rule_id, "consequence": consequence, **fields}, Rule)


@pytest.mark.parametrize(
    "product",
    [
        Product("b", availability="out_of_stock"),
        Product("b", price=0.0),
        Product("b", category="Service > Gift Cards"),
    ],
)
def test_what_cannot_be_sold_is_not_suggested(product: Product) -> None:
    recommender = shop(products={"b": product})

    assert "b" not in ids(ask(recommender, viewed("a")))

    recommender.describe("b", None)
    assert "b" in ids(ask(recommender, viewed("a")))


def test_hide_and_filter_leave_out_and_are_named() -> None:
    recommender = shop(_rule("no-b", "hide", items=["b"]), _rule("only-x", "filter", categories=["X"]))

    ranked = ask(recommender, viewed("a"))

    assert set(ids(ranked)) == {"a", "c", "d"}
    assert {"no-b", "only-x"} <= set(ranked.rules)


def test_boost_and_bury_move_and_are_told_as_reasons() -> None:
    plain = ids(ask(shop(), viewed("a"), n=4))
    recommender = shop(_rule("up", "boost", items=["d"], factor=100), _rule("down", "bury", items=["b"], factor=0.001))

    ranked = ask(recommender, viewed("a"), n=4, explain=True)

    assert plain[0] == "b"
    assert ids(ranked)[0] == "d"
    reasons = {item.id: item.reasons for item in ranked.items}
    assert Reason("boosted", rule="up") in reasons["d"]
    assert ids(ranked).index("b") > ids(ranked).index("c")


def test_pins_stand_in_their_slots_whatever_the_lists_say() -> None:
    recommender = shop(_rule("p", "pin", items=["h", "never-seen"], slot=2))

    ranked = ask(recommender, viewed("a"), n=4, explain=True)

    assert ids(ranked)[1:3] == ["h", "never-seen"]
    assert len(ranked.items) == 4
    assert Reason("pinned", rule="p") in ranked.items[1].reasons
    assert ranked.served_by == "ranker"


@pytest.mark.parametrize("asked", [{"exclude": ("h",)}, {"cart": ("h",)}, {"item": "h"}])
def test_a_pin_does_not_overrule_the_visitor(asked: dict[str, object]) -> None:
    assert "h" not in ids(ask(shop(_rule("p", "pin", items=["h"])), viewed("a"), **asked))


def test_a_pinned_item_out_of_stock_is_not_shown() -> None:
    recommender = shop(_rule("p", "pin", items=["h"]), products={"h": Product("h", availability="out_of_stock")})

    assert "h" not in ids(ask(recommender, viewed("a")))


def test_a_rule_speaks_to_segments_of_the_request_and_of_the_events() -> None:
    recommender = shop(_rule("vip", "hide", items=["b"], when={"segments": ["vip", "buyer"]}))

    assert "b" in ids(ask(recommender, viewed("a")))
    assert "b" not in ids(ask(recommender, viewed("a"), segments=("vip",)))
    assert "b" not in ids(ask(recommender, events(("a", Kind.PURCHASE), ("c", Kind.VIEW))))


def test_a_rule_speaks_on_pages_of_its_category() -> None:
    recommender = shop(_rule("r", "hide", items=["b"], when={"categories": ["X"]}))

    assert "b" not in ids(ask(recommender, item="d"))
    assert "b" in ids(ask(recommender, item="e"))


def test_diversity_takes_categories_in_turns() -> None:
    categories = {"a": "X", "b": "X", "c": "X", "d": "X > Y", "e": "Z", "f": "Z", "g": "Z", "h": "Z"}

    ranked = ask(shop(), viewed("a"), n=3, diversity=1.0)

    assert len({categories[item] for item in ids(ranked)}) == 3
    assert "diversity" in ranked.rules


def test_placements_of_one_page_repeat_nothing_and_may_be_asked_again() -> None:
    recommender = shop()

    first = ids(ask(recommender, viewed("a"), n=3, placement="home", page_view_id="p1"))
    second = ask(recommender, viewed("a"), n=3, placement="cart", page_view_id="p1")
    again = ids(ask(recommender, viewed("a"), n=3, placement="home", page_view_id="p1"))
    other_page = ids(ask(recommender, viewed("a"), n=3, placement="cart", page_view_id="p2"))

    assert not set(first) & set(ids(second))
    assert "shown-on-page" in second.rules
    assert again == first
    assert other_page == first


def test_new_items_get_their_share_of_slots_with_their_propensity() -> None:
    products = {f"new-{number}": Product(f"new-{number}", category="X", title="thing") for number in range(5)}
    settings = RecommenderSettings(shuffle_share=0.0, explore_share=0.25, explore_events_max=0.5)
    recommender = shop(products=products, settings=settings)

    head = ids(ask(shop(), viewed("a", "e"), n=6))[:3]
    slots = new = weighed = 0.0
    for visitor in range(300):
        ranked = ask(recommender, viewed("a", "e"), n=6, visitor=f"v{visitor}", logic=Logic.PERSONAL)
        assert ids(ranked)[:3] == head
        for item in ranked.items[3:]:
            assert item.propensity is not None
            slots += 1
            new += item.id in products
            weighed += (item.id in products) / item.propensity
    # Half of the slots are open, so each is given away half of the time.
    assert 0.4 < new / slots < 0.6
    # Inverse propensities count every candidate once.
    assert 0.8 < weighed / slots / 5 < 1.2


def test_without_new_items_chance_has_no_say() -> None:
    ranked = ask(shop(settings=RecommenderSettings(shuffle_share=0.0, explore_share=0.5)), viewed("a"), n=6)

    assert all(item.propensity is None for item in ranked.items[:3])


def test_a_rule_that_takes_part_is_counted() -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("afterclick_recommender_policy_total", {"rule": "counted"}) or 0.0

    recommender, before = shop(_rule("counted", "hide", items=["b"])), count()

    ask(recommender, viewed("a"))

    assert count() == before + 1


def test_what_was_shown_and_passed_over_goes_down_from_page_to_page() -> None:
    recommender = shop(settings=RecommenderSettings(explore_share=0.0, impression_discount=0.3))
    fresh = ids(ask(recommender, viewed("a"), n=3))

    often = viewed("a")._replace(shown=(fresh[0],) * 8)
    ranked = ask(recommender, often, n=3, explain=True)

    assert fresh[0] not in ids(ranked)[:1]
    assert "shown-before" in ranked.rules
    for item in ranked.items:
        assert sum(reason.share or 0.0 for reason in item.reasons) == pytest.approx(item.score, abs=1e-5)


def test_chance_moves_no_pin_and_shares_no_answer_with_new_items() -> None:
    settings = RecommenderSettings(shuffle_share=1.0, shuffle_slots=2)
    recommender = shop(_rule("p", "pin", items=["c"], slot=6), settings=settings)

    ranked = ask(recommender, viewed("a"), n=6)

    assert ranked.items[5].id == "c"
    assert ranked.exploration is not None
    assert ranked.exploration.slots == (3, 4)
    assert [item.propensity is None for item in ranked.items] == [True, True, True, False, False, True]
