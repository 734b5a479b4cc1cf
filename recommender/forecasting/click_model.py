"""The position-based click model: a click is a look at the place times a liking of the item.

Richardson, Dominowska and Ragno, "Predicting clicks" (WWW 2007); Chuklin, Markov and de Rijke, "Click Models for Web
Search" (2015), section 3.2. Fitted by proportional fitting of places and items in turns (expectation-maximisation was
still far off after twice as many steps), with a prior on the liking, since most items were shown a few times only.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.forecasting.click_counts import PLACES_MAX, ClickCounts

_STEPS = 30
_STEPS_AGAIN = 8
_PRIOR_SHOWN_START, _PRIOR_SHOWN_MIN, _PRIOR_SHOWN_MAX = 20.0, 2.0, 1_000.0
"""How many showings the prior weighs: an item shown so often counts half by itself, half by all items together. From
how much the items differ, between these."""
_FLOOR = 1e-6

Floats = NDArray[np.float64]


class ClickModel(NamedTuple):
    """Attributes:
    looks: shape (places,), 0 to 1, the first is 1: how likely a place is looked at.
    liking: shape (items,), 0 to 1: how likely an item that is looked at is clicked.
    prior, prior_shown: the liking of an item never shown, and how many showings that belief weighs.
    """

    looks: Floats
    liking: Floats
    prior: float
    prior_shown: float


class ClickModelDraws(NamedTuple):
    """Many models that the same past could have given.

    Attributes:
        item_ids: of the columns of `liking`; the last column stands for every other item.
        looks: shape (draws, places). liking: shape (draws, items + 1).
    """

    item_ids: tuple[str, ...]
    looks: Floats
    liking: Floats


class _Cells(NamedTuple):
    item: NDArray[np.int64]
    place: NDArray[np.int64]
    shown: Floats
    items: int


def fit_click_model(counts: ClickCounts) -> tuple[tuple[str, ...], ClickModel]:
    """Item ids, in the order of `liking`, and the model."""
    item_ids, cells = _cells_of(counts)
    return item_ids, _fit(cells, np.asarray(counts.clicked, np.float64), None, _STEPS)


def draws_of(counts: ClickCounts, *, draws: int, seed: int) -> ClickModelDraws:
    """Looks from clicks drawn anew (parametric bootstrap), likings from what is then believed of each; `draws` >= 2."""
    item_ids, cells = _cells_of(counts)
    clicked = np.asarray(counts.clicked, np.float64)
    chance = np.random.default_rng(seed)
    model = _fit(cells, clicked, None, _STEPS)
    expected = np.clip(model.looks[cells.place] * model.liking[cells.item], 0.0, 1.0)
    looks, liking = np.empty((draws, PLACES_MAX)), np.empty((draws, len(item_ids) + 1))
    for draw in range(draws):
        again = chance.binomial(cells.shown.astype(np.int64), expected).astype(np.float64)
        looks[draw] = _fit(cells, again, model, _STEPS_AGAIN).looks
        liking[draw, :-1] = _believed(cells, clicked, looks[draw], model, chance)
        # Of an item nobody was shown it is only known that it is one like the others.
        liking[draw, -1] = chance.choice(liking[draw, :-1]) if len(item_ids) else model.prior
    return ClickModelDraws(item_ids, looks, liking)


def _cells_of(counts: ClickCounts) -> tuple[tuple[str, ...], _Cells]:
    item_ids, item = np.unique(np.asarray(counts.item_ids, dtype=object).astype(str), return_inverse=True)
    place = np.asarray(counts.places, np.int64)
    return tuple(item_ids.tolist()), _Cells(item, place, np.asarray(counts.shown, np.float64), len(item_ids))


def _fit(cells: _Cells, clicked: Floats, start: ClickModel | None, steps: int) -> ClickModel:
    """Each step makes the expected clicks of every place, then of every item, equal to those seen."""
    prior = max(_FLOOR, float(clicked.sum() / max(1.0, cells.shown.sum())))
    looks = start.looks.copy() if start is not None else 1.0 / (1.0 + np.arange(PLACES_MAX)) ** 0.5
    liking = start.liking.copy() if start is not None else np.full(cells.items, prior)
    clicked_at = np.bincount(cells.place, clicked, PLACES_MAX)
    clicked_of = np.bincount(cells.item, clicked, cells.items)
    prior_shown = start.prior_shown if start is not None else _PRIOR_SHOWN_START
    for _ in range(steps):
        could = np.bincount(cells.place, cells.shown * liking[cells.item], PLACES_MAX)
        looks = np.where(could > 0, clicked_at / np.maximum(_FLOOR, could), looks)
        # Only the product is seen; the first place is taken as always looked at.
        looks = np.minimum(1.0, looks / max(_FLOOR, float(looks[0])))
        looked = np.bincount(cells.item, cells.shown * looks[cells.place], cells.items)
        prior = max(_FLOOR, float(clicked.sum() / max(1.0, looked.sum())))
        if start is None:
            prior_shown = _weight_of_prior(clicked_of, looked, prior)
        liking = np.minimum(1.0, (clicked_of + prior_shown * prior) / (looked + prior_shown))
    return ClickModel(looks.astype(np.float64), liking, prior, prior_shown)


def _weight_of_prior(clicked: NDArray[Any], looked: NDArray[Any], prior: float) -> float:
    """By the method of moments: what the items' rates differ beyond chance is the variance of a Beta distribution."""
    seen = looked > 1
    if not seen.any():
        return _PRIOR_SHOWN_START
    rates = clicked[seen] / looked[seen]
    chance = prior * (1 - prior) / looked[seen]
    between = max(_FLOOR, float(np.average((rates - prior) ** 2 - chance, weights=looked[seen])))
    return float(np.clip(prior * (1 - prior) / between - 1, _PRIOR_SHOWN_MIN, _PRIOR_SHOWN_MAX))


def _believed(cells: _Cells, clicked: Floats, looks: Floats, model: ClickModel, chance: np.random.Generator) -> Floats:
    """Likings from their posterior, Beta(clicks + a, looks without a click + b), under these looks."""
    clicks = np.bincount(cells.item, clicked, cells.items)
    looked = np.maximum(clicks, np.bincount(cells.item, cells.shown * looks[cells.place], cells.items))
    likes, dislikes = model.prior_shown * model.prior, model.prior_shown * (1 - model.prior)
    return chance.beta(clicks + likes, looked - clicks + dislikes)
