"""What a change of pages would earn and whom it would starve, with an interval."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.forecasting.click_counts import PLACES_MAX
from recommender.forecasting.click_model import ClickModelDraws

STARVED_MAX = 20
_STARVED_SHARE = 0.5


class StarvedItem(msgspec.Struct, frozen=True):
    """An item that would be looked at less than half as often. `before`, `after`: looks per 1,000 pages."""

    id: str
    before: float
    after: float


class Forecast(msgspec.Struct, frozen=True):
    """Attributes:
    method: what the figure rests on: `click-model`, a model of the past and no experiment.
    clicks_before, clicks_after: expected per 1,000 pages.
    gained, gained_low, gained_high: clicks gained per 1,000 pages, and where 95 % of likely truths lie.
    pages: how many pages of real visitors were compared, and `changed` how many of them differ.
    shown: on how many showings the model rests.
    starved: whom it would cost most; at most 20, the most looked-at first.
    """

    method: Literal["click-model"]
    clicks_before: float
    clicks_after: float
    gained: float
    gained_low: float
    gained_high: float
    pages: int
    changed: int
    shown: int
    starved: tuple[StarvedItem, ...]


def forecast(
    before: Sequence[Sequence[str]], after: Sequence[Sequence[str]], draws: ClickModelDraws, *, shown: int, seed: int
) -> Forecast:
    """Compare pages pairwise: `before[i]` and `after[i]` are one visitor's; at least one pair.

    The interval covers what chance made of the past clicks and of the choice of visitors; not that tastes may change.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"wanted as many pages after as before, at least one; got {len(before)} and {len(after)}")
    column = {item_id: number for number, item_id in enumerate(draws.item_ids)}
    unknown = len(draws.item_ids)
    clicks_before = _clicks(before, column, unknown, draws)
    clicks_after = _clicks(after, column, unknown, draws)
    chance = np.random.default_rng(seed)
    gains = clicks_after - clicks_before
    picked = chance.integers(len(before), size=(len(draws.looks), len(before)))
    spread = 1000 * np.take_along_axis(gains, picked, axis=1).mean(axis=1)
    low, high = np.quantile(spread, (0.025, 0.975))
    return Forecast(
        "click-model",
        float(1000 * clicks_before.mean()),
        float(1000 * clicks_after.mean()),
        float(1000 * gains.mean()),
        float(low),
        float(high),
        len(before),
        sum(tuple(was) != tuple(will_be) for was, will_be in zip(before, after, strict=True)),
        shown,
        _starved(before, after, draws.looks.mean(axis=0)),
    )


def _clicks(
    pages: Sequence[Sequence[str]], column: dict[str, int], unknown: int, draws: ClickModelDraws
) -> NDArray[np.float64]:
    """Shape (draws, pages): expected clicks."""
    clicks = np.zeros((len(draws.looks), len(pages)))
    for number, page in enumerate(pages):
        items = [column.get(item_id, unknown) for item_id in page[:PLACES_MAX]]
        clicks[:, number] = (draws.looks[:, : len(items)] * draws.liking[:, items]).sum(axis=1)
    return clicks


def _starved(
    before: Sequence[Sequence[str]], after: Sequence[Sequence[str]], looks: NDArray[np.float64]
) -> tuple[StarvedItem, ...]:
    had, has = _looks_of(before, looks), _looks_of(after, looks)
    starved = [
        StarvedItem(item_id, round(amount, 2), round(has.get(item_id, 0.0), 2))
        for item_id, amount in had.items()
        if has.get(item_id, 0.0) < _STARVED_SHARE * amount
    ]
    return tuple(sorted(starved, key=lambda item: (item.after - item.before, item.id))[:STARVED_MAX])


def _looks_of(pages: Sequence[Sequence[str]], looks: NDArray[np.float64]) -> dict[str, float]:
    found: dict[str, float] = {}
    for page in pages:
        for item_id, look in zip(page[:PLACES_MAX], looks.tolist(), strict=False):
            found[item_id] = found.get(item_id, 0.0) + look
    return {item_id: 1000 * amount / len(pages) for item_id, amount in found.items()}
