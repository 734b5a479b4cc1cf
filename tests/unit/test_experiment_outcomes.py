"""Outcomes of an experiment, counted from archived events."""

from typing import Any

import msgspec
import pytest

from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position
from ingest.events import Attribution, Event, Item
from recommender.experiments import HOLDOUT, ArmOutcomes, Experiment, Preferences, Variant
from recommender.experiments.outcomes import SALE_MS, outcomes

START_MS = 1_784_000_000_000
EXPERIMENT = Experiment("e", (Variant("control", 0.5), Variant("treatment", 0.5)), holdout=0.1, revenue_cap=100.0)


class _Log:
    def __init__(self) -> None:
        self.rows: list[ArchivedEvent] = []

    def add(
        self, visitor: int, event: str, at_s: int, *, variant: str | None = None, item_id: str = "mug", **item: Any
    ) -> None:
        time_ms = START_MS + at_s * 1000
        attribution = None if variant is None else Attribution("home", time_ms, variant)
        number = len(self.rows)
        key = visitor.to_bytes(16, "big").hex()
        items = (Item(item_id, **item),)
        clicked = Event(f"message-{number}", event, key, time_ms, time_ms, items, attribution=attribution)  # type: ignore[arg-type]
        self.rows.append(ArchivedEvent(0, Position(1, number, 0), time_ms, clicked))

    def count(self) -> dict[str, ArmOutcomes]:
        return outcomes(rows_of(self.rows).lazy(), EXPERIMENT).arms


def test_a_visitor_counts_once_from_the_first_time_something_was_shown() -> None:
    log = _Log()
    for at_s in (10, 20, 30):
        log.add(1, "view_item_list", at_s, variant="e/control")
        log.add(1, "select_item", at_s + 1, variant="e/control")
    log.add(2, "view_item_list", 10, variant="e/treatment")
    log.add(3, "view_item_list", 10, variant=f"e/{HOLDOUT}")

    found = log.count()

    assert found["control"] == ArmOutcomes(1, 1, 0, 0.0, 0.0)
    assert found["treatment"] == ArmOutcomes(1, 0, 0, 0.0, 0.0)
    assert found[HOLDOUT].visitors == 1


def test_an_answer_that_was_never_shown_exposes_nobody() -> None:
    log = _Log()
    log.add(1, "select_item", 10, variant="e/control")
    log.add(2, "view_item_list", 10, variant="other/control")
    log.add(3, "view_item_list", 10)

    assert log.count() == {}


def test_only_sales_after_the_exposure_count_less_refunds_up_to_the_cap() -> None:
    log = _Log()
    log.add(1, "purchase", 5, price=50.0)
    log.add(1, "view_item_list", 10, variant="e/control")
    log.add(1, "purchase", 20, price=10.0, quantity=3)
    log.add(1, "refund", 30, price=10.0)
    log.add(1, "purchase", 10 + SALE_MS // 1000 + 1, price=70.0)
    log.add(2, "view_item_list", 10, variant="e/control")
    log.add(2, "purchase", 20, price=900.0)
    log.add(3, "view_item_list", 10, variant="e/control")
    log.add(3, "purchase", 20)
    log.add(9, "purchase", 20, price=900.0)

    found = log.count()["control"]

    assert (found.visitors, found.bought) == (3, 3)
    assert found.revenue == pytest.approx(20.0 + 100.0)
    assert found.revenue_squares == pytest.approx(20.0**2 + 100.0**2)


def test_who_was_shown_two_variants_is_left_out() -> None:
    log = _Log()
    log.add(1, "view_item_list", 10, variant="e/control")
    log.add(1, "view_item_list", 20, variant="e/treatment")

    assert log.count() == {}


def test_an_interleaved_visitor_prefers_the_list_that_more_clicks_fell_on() -> None:
    log = _Log()
    for visitor, teams in enumerate(
        (("treatment", "treatment", "control"), ("control",), ("control", "treatment"), ())
    ):
        log.add(visitor, "view_item_list", 10, variant="e/interleaved")
        for at_s, team in enumerate(teams, 20):
            log.add(visitor, "select_item", at_s, variant=f"e/{team}", item_id=f"item-{at_s}")

    interleaved = msgspec.structs.replace(EXPERIMENT, method="interleaving")
    found = outcomes(rows_of(log.rows).lazy(), interleaved)

    assert found.preferences == Preferences(4, 1, 1, 1)
    assert found.arms["interleaved"].clicked == 3
