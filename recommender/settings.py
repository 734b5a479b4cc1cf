"""Every setting of the recommender and the learner, with its limits: `[recommender]` and `[learner]`."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class RecommenderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How answers are made."""

    sequence_items_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 30
    """Newest items of a visitor that are scored with."""
    exclude_purchased: bool = True
    cart_ms_max: Annotated[int, msgspec.Meta(ge=0)] = 86_400_000
    """For how long an item put into the cart, and neither taken out nor bought, is left out."""
    crowd_ms: Annotated[float, msgspec.Meta(gt=0)] = 4.0
    """How long the lists of all requests that wait in one process may take together; beyond it they are answered by
    cheaper ones, so that the queue stays short."""
    trends_refresh_ms: Annotated[int, msgspec.Meta(ge=0)] = 1_000
    """How old the sorted lists of popular and trending items may be."""
    fallback_rows_max: Annotated[int, msgspec.Meta(ge=200, le=100_000)] = 2_000
    """How many popular and trending items are kept sorted; what lies below is sorted when it is asked for."""
    exclude_categories: tuple[str, ...] = ("gift card", "gift cards")
    """Categories, at any level, whose items are never suggested; capitals do not matter."""
    impression_discount: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    """What an item's score loses each time it was suggested to this visitor lately; 0: nothing."""
    explore_share: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.02
    """Of all slots, those given to new items; 0: none."""
    explore_events_max: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Decayed events from which on an item is no longer new."""
    explore_shown_max: Positive = 500
    """Slots that a process gives to one new item."""
    page_views_max: Positive = 10_000
    """Pages whose shown items are remembered, so that their placements repeat none."""
    page_view_ms_max: Positive = 600_000
    """For how long."""

    shuffle_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    """Of the answers, whose last slots chance may order, so that other orders can be judged by the log later."""
    shuffle_slots: Annotated[int, msgspec.Meta(ge=0, le=8)] = 4
    """How many of an answer's last slots, at most half of them."""
    shuffle_temperature: Annotated[float, msgspec.Meta(gt=0, le=100)] = 2.0
    """Near 0 nothing moves; above 10 every order is about as likely."""


class LearnerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model learns; each limit is kept by dropping the oldest or the newcomer, and each drop is counted."""

    items_max: Positive = 1_000_000
    """Rows of the model; newcomers beyond are counted and left out."""
    visitors_max: Positive = 100_000
    """Visitors whose open session is known; the one longest silent is forgotten first."""
    sessions_max: Annotated[int, msgspec.Meta(ge=100, le=20_000_000)] = 100_000
    """Newest sessions in which neighbours are looked for."""
    interactions_max: Annotated[int, msgspec.Meta(ge=1_000, le=1_000_000_000)] = 1_000_000
    """Newest events a refit learns from; 21 bytes each."""
    factor_sessions_max: Annotated[int, msgspec.Meta(ge=100, le=10_000_000)] = 32_768
    """Newest sessions that define the items' vectors between refits; about 770 bytes each with 128 factors."""
    session_idle_ms: Positive = 1_800_000
    """A pause that ends a session."""
    visitor_events_per_hour_max: Positive = 300
    """What one visitor may teach in an hour; further events are counted and left out, and after four times as many, all
    of that day. Of one item a visitor teaches two events a day, besides a first add to cart and a first purchase."""
    publish_ms: Annotated[int, msgspec.Meta(ge=5, le=10_000)] = 25
    """How often what was learnt is published."""
    publish_factors_ms: Annotated[int, msgspec.Meta(ge=5, le=60_000)] = 100
    """How often moved item vectors are published; a popular item moves with every click and needs to be sent once."""
    publish_factor_rows_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 512
    """Item vectors published at once; others wait for the next time."""
    receive_entries_max: Positive = 5_000
    """Events taken from the bus at once."""
    publish_pending_max: Positive = 2_000
    """Deltas waiting for the bus; beyond it no more events are read."""
    snapshot_ms: Annotated[int, msgspec.Meta(ge=100)] = 60_000
    """How often the state is written down; only then are its events acknowledged."""
    snapshots_kept: Annotated[int, msgspec.Meta(ge=2, le=100)] = 3
    versions_kept: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """Of so many newest versions the newest snapshot stays, so that `afterclick model serve` can go back to it."""
    popularity_half_life_ms: Positive = 604_800_000
    trend_half_life_ms: Positive = 7_200_000
    refit: bool = True
    """May the background fit run at all?"""
    refit_ranker: bool = True
    """May it fit the ranker too, on the newest sessions? It takes about as long again."""
    refit_ms: Annotated[int, msgspec.Meta(ge=100)] = 600_000
    """From the end of one fit to the start of the next."""
    refit_events_min: Positive = 1_000
    """New events a fit waits for."""
    fit_ms_max: Positive = 3_600_000
    """A fit that takes longer is ended and counted as failed."""
    score_events_per_flush_max: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 2
    """Events of each flush that are foretold before they are learnt, to watch the model; 0: none, no fit is judged."""
    guard_events_min: Annotated[int, msgspec.Meta(ge=20, le=4000)] = 200
    """Foretold events on which a new fit must do no worse than the one before it; until then it is on trial."""
    fit_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    factors: Annotated[int, msgspec.Meta(ge=8, le=512)] = 128
    """Length of an item's vector. This and the rest: what `recommender.models.ials.IalsParameters` says."""
    iterations: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    regularization: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    alpha: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """None: by the size of the catalogue."""
