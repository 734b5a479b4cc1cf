"""The click model finds what made the clicks, and a forecast's interval holds what would really be gained."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.archive_rows import ArchivedEvent, rows_of
from ingest.bus.contract import Position
from ingest.events import Attribution, Event, Item
from recommender.forecasting import ClickCounts, click_counts, draws_of, fit_click_model, forecast

START_MS = 1_784_000_000_000
PLACES, ITEMS = 6, 60


def _truth(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chance = np.random.default_rng(seed)
    return 1.0 / (1.0 + np.arange(PLACES)) ** 0.7, chance.beta(2, 12, ITEMS)


def _page(chance: np.random.Generator, bias: NDArray[np.float64]) -> NDArray[np.int64]:
    """Six items of the shop's own order with much chance in it, so that items stand at several places."""
    return np.argsort(-(bias + chance.gumbel(0, 1.0, ITEMS)))[:PLACES]


def _counts(seed: int, pages: int) -> tuple[ClickCounts, NDArray[np.float64]]:
    chance = np.random.default_rng(seed)
    looks, liking = _truth(seed)
    bias = chance.normal(0, 1, ITEMS)
    shown, clicked = np.zeros((ITEMS, PLACES), int), np.zeros((ITEMS, PLACES), int)
    order = np.argsort(-(bias + chance.gumbel(0, 1.0, (pages, ITEMS))), axis=1)[:, :PLACES]
    clicks = chance.random((pages, PLACES)) < looks * liking[order]
    places = np.broadcast_to(np.arange(PLACES), order.shape)
    np.add.at(shown, (order, places), 1)
    np.add.at(clicked, (order, places), clicks)
    item, place = np.nonzero(shown)
    cells = ([f"i{i}" for i in item], place.tolist(), shown[item, place].tolist(), clicked[item, place].tolist())
    return ClickCounts(*cells, pages), bias


def test_the_model_finds_looks_and_likings() -> None:
    counts, _ = _counts(seed=1, pages=20_000)
    looks, liking = _truth(1)

    item_ids, model = fit_click_model(counts)

    assert model.looks[:PLACES] == pytest.approx(looks, abs=0.08)
    found = dict(zip(item_ids, model.liking.tolist(), strict=True))
    assert np.corrcoef([found[f"i{i}"] for i in range(ITEMS)], liking)[0, 1] > 0.97


def test_the_interval_holds_what_would_be_gained() -> None:
    """A pin of one item to the first place, in 40 shops: 95 % are promised, of 40 at least 35 must hold."""
    held = 0
    for seed in range(40):
        counts, bias = _counts(seed, pages=1_500)
        looks, liking = _truth(seed)
        chance = np.random.default_rng(seed + 1_000)
        before = [_page(chance, bias) for _ in range(300)]
        pinned = int(chance.integers(ITEMS))
        after = [np.array([pinned, *[i for i in page if i != pinned]][:PLACES]) for page in before]
        gained = 1000 * np.mean(
            [(looks * liking[new]).sum() - (looks * liking[old]).sum() for old, new in zip(before, after, strict=True)]
        )

        found = forecast(
            [[f"i{i}" for i in page] for page in before],
            [[f"i{i}" for i in page] for page in after],
            draws_of(counts, draws=80, seed=seed),
            shown=sum(counts.shown),
            seed=seed,
        )

        held += found.gained_low <= gained <= found.gained_high

    assert held >= 35


def test_pages_alike_gain_nothing_and_starve_nobody() -> None:
    counts, _ = _counts(seed=2, pages=500)
    pages = [["i1", "i2", "i3"]] * 5

    found = forecast(pages, pages, draws_of(counts, draws=20, seed=1), shown=1, seed=1)

    assert (found.gained, found.gained_low, found.gained_high, found.changed) == (0, 0, 0, 0)
    assert found.starved == ()


def test_whom_a_change_pushes_down_is_named() -> None:
    counts, _ = _counts(seed=3, pages=500)
    draws = draws_of(counts, draws=20, seed=1)

    found = forecast([["i1", "i2"]] * 4, [["i3", "i2"]] * 4, draws, shown=1, seed=1)

    assert [item.id for item in found.starved] == ["i1"]
    assert found.starved[0].after == 0


def test_an_item_never_shown_makes_the_interval_wider() -> None:
    counts, _ = _counts(seed=4, pages=5_000)
    draws = draws_of(counts, draws=80, seed=1)
    before = [["i1", "i2"]] * 50

    known = forecast(before, [["i3", "i2"]] * 50, draws, shown=1, seed=1)
    unknown = forecast(before, [["brand-new", "i2"]] * 50, draws, shown=1, seed=1)

    assert unknown.gained_high - unknown.gained_low > 2 * (known.gained_high - known.gained_low)


def _event(number: int, name: str, answer: str, *item_ids: str, placement: str = "home") -> ArchivedEvent:
    event = Event(
        f"message-{number}",
        name,  # type: ignore[arg-type]
        "ab" * 16,
        START_MS,
        START_MS,
        tuple(Item(item_id) for item_id in item_ids),
        recommendation_id=answer,
        attribution=Attribution(placement, START_MS),
    )
    return ArchivedEvent(0, Position(1, number, 0), START_MS + number, event)


def test_counts_say_what_was_shown_where_and_clicked_once() -> None:
    rows = [
        _event(0, "view_item_list", "r1", "a", "b"),
        _event(1, "view_item_list", "r1", "a", "b"),
        _event(2, "select_item", "r1", "b"),
        _event(3, "select_item", "r1", "b"),
        _event(4, "select_item", "r1", "never-shown"),
        _event(5, "view_item_list", "r2", "b", "a"),
        _event(6, "view_item_list", "r3", "a", placement="cart"),
    ]

    counts = click_counts(rows_of(rows).lazy(), "home", since_ms=START_MS)

    cells = list(zip(counts.item_ids, counts.places, counts.shown, counts.clicked, strict=True))
    assert cells == [("a", 0, 1, 0), ("a", 1, 1, 0), ("b", 0, 1, 0), ("b", 1, 1, 1)]
    assert counts.pages == 2
    assert click_counts(rows_of(rows).lazy(), "home", since_ms=START_MS + 6).pages == 0
