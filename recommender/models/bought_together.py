"""What is bought with what: pairs of one basket, decayed, and corrected for what everybody buys anyway."""

from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from feature_store.kinds import Kind
from recommender.models.popularity import DAY_MS
from recommender.models.protocol import (
    EMPTY,
    KIND_WEIGHT,
    NOTHING_BLOCKED,
    Blocked,
    Events,
    Prefix,
    Rows,
    Scored,
    State,
    grown,
    plain,
    plain_events,
)
from recommender.models.session_ring import SessionRing, append, open_slot
from recommender.scan import top_n

NO_ITEM = -1


class BoughtTogetherParameters(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        cart: what two items count that were put into one cart, where two bought ones count 1.
        lift: power of an item's own count that its pairs are divided by: 0 is confidence, 1 lift.
        doubt: pairs seen so often count half; a coincidence is no rule.
        last: newest events of the prefix that are asked.
        decay: of an event's say per step back.
        half_life_ms: in which a pair's weight halves.
        neighbours_max: per item; the lightest is replaced.
        baskets_max: open baskets.
        basket_items_max: newest items of a basket that make pairs.
    """

    cart: float = 0.3
    lift: float = 0.4
    doubt: float = 2.0
    last: int = 20
    decay: float = 0.05
    half_life_ms: float = 60.0 * DAY_MS
    neighbours_max: int = 64
    baskets_max: int = 65_536
    basket_items_max: int = 30


class BoughtTogether:
    """Per item the heaviest `neighbours_max` companions of its baskets. A session is a basket."""

    name = "bought-together"

    def __init__(self, parameters: BoughtTogetherParameters | None = None) -> None:
        self.parameters = p = parameters if parameters is not None else BoughtTogetherParameters()
        self._baskets = SessionRing(sessions_max=p.baskets_max, items_max=p.basket_items_max)
        self._bought = np.zeros((p.baskets_max, p.basket_items_max), np.bool_)
        self._neighbours = np.full((0, p.neighbours_max), NO_ITEM, np.int32)
        self._weights = np.zeros((0, p.neighbours_max), np.float32)
        self._counts = np.zeros(0, np.float32)
        self._times_ms = np.zeros(0, np.int64)
        self._items = 0
        self._newest_ms = 0

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Pair one item with those of its basket."""
        self.update_many(
            Events(
                np.array([session], np.int64),
                np.array([row], np.int32),
                np.array([kind], np.uint8),
                np.array([time_ms], np.int64),
            )
        )

    def update_many(self, events: Events, /) -> None:
        """Pair many."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._reserve(int(events.rows.max()) + 1)
        if not (events.kinds >= Kind.ADD_TO_CART).any():
            return
        p = self.parameters
        _learn(
            *(self._baskets.rows, self._baskets.lengths, self._baskets.numbers, self._bought),
            *(self._neighbours, self._weights, self._counts, self._times_ms),
            *(events.sessions, events.rows, events.kinds, events.times_ms),
            *(np.float32(p.cart), float(p.half_life_ms)),
        )
        self._newest_ms = max(self._newest_ms, int(events.times_ms.max()))

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """Companions of the newest events, whatever their kind: what is on the page may not be in the cart yet."""
        rows, says = self._asked(prefix)
        if not len(rows):
            return EMPTY
        return Scored(*self._companions(rows, says, n, blocked))

    def contributions(self, prefix: Prefix, rows: Rows) -> NDArray[np.float64]:
        """Shape (len(rows), len(prefix.rows)): what each event adds to each row's score."""
        shares = np.zeros((len(rows), len(prefix.rows)))
        asked, says = self._asked(prefix)
        blocked = np.ones(self._items, np.bool_)
        blocked[rows[rows < self._items]] = False
        place = {int(row): number for number, row in enumerate(rows)}
        for number in range(len(asked)):
            one = slice(number, number + 1)
            found, scores = self._companions(asked[one], says[one], max(1, len(rows)), blocked)
            for row, score in zip(found.tolist(), scores.tolist(), strict=True):
                shares[place[row], len(prefix.rows) - len(asked) + number] = score
        return shares

    def block(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """What is held of `rows`, absolutely, for `set_block` of a replica."""
        return {
            "rows": rows,
            "neighbours": self._neighbours[rows],
            "weights": self._weights[rows],
            "counts": self._counts[rows],
            "times_ms": self._times_ms[rows],
        }

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        rows = block["rows"]
        if len(rows) == 0:
            return
        self._reserve(int(max(rows.max(), block["neighbours"].max())) + 1)
        self._neighbours[rows] = block["neighbours"]
        self._weights[rows] = block["weights"]
        self._counts[rows] = block["counts"]
        self._times_ms[rows] = block["times_ms"]
        self._newest_ms = max(self._newest_ms, int(block["times_ms"].max()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Companions, counts and open baskets."""
        used = np.flatnonzero(self._baskets.numbers >= 0)
        held = self.block(np.arange(self._items, dtype=np.int32))
        return {**held, **self._baskets.state(), "session_bought": self._bought[used]}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.__init__(self.parameters)  # type: ignore[misc]
        self._baskets.load(state)
        self._bought[state["session_numbers"] % len(self._bought)] = state["session_bought"]
        self.set_block(state)

    @property
    def nbytes(self) -> int:
        """What the model takes."""
        arrays = (self._bought, self._neighbours, self._weights, self._counts, self._times_ms)
        return self._baskets.nbytes + sum(array.nbytes for array in arrays)

    def _asked(self, prefix: Prefix) -> tuple[Rows, NDArray[np.float32]]:
        """The newest events and what each says; a row may stand there twice, as in a basket."""
        newest = slice(-self.parameters.last, None)
        rows = plain(prefix.rows[newest], np.int32)
        distance = np.arange(len(rows) - 1, -1, -1, dtype=np.float32)
        says = np.exp(np.float32(-self.parameters.decay) * distance) * (KIND_WEIGHT[prefix.kinds[newest]] > 0)
        return rows, says.astype(np.float32)

    def _companions(self, rows: Rows, says: NDArray[np.float32], n: int, blocked: Blocked) -> tuple[Rows, Any]:
        p = self.parameters
        found: tuple[Rows, Any] = _companions(
            *(self._neighbours, self._weights, self._counts, self._times_ms, self._items, rows, says, n, blocked),
            *(np.float32(p.lift), np.float32(p.doubt), float(p.half_life_ms), self._newest_ms),
        )
        return found

    def _reserve(self, items: int) -> None:
        self._neighbours = grown(self._neighbours, items, NO_ITEM)
        self._weights = grown(self._weights, items)
        self._counts = grown(self._counts, items)
        self._times_ms = grown(self._times_ms, items)
        self._items = max(self._items, items)


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, bought, neighbours, weights, counts, times_ms,
    sessions, rows, kinds, event_times_ms, cart, half_life_ms,
):  # fmt: skip
    for event in range(len(rows)):
        purchase = kinds[event] == 5
        if not purchase and kinds[event] != 3:
            continue
        slot = open_slot(ring_numbers, ring_lengths, sessions[event])
        if slot < 0:
            continue
        row, time_ms, length = rows[event], event_times_ms[event], ring_lengths[slot]
        place = 0
        while place < length and ring_rows[slot, place] != row:
            place += 1
        # Put in again, or bought once more: nothing new is with it.
        if place < length and (bought[slot, place] or not purchase):
            continue
        known = place < length
        weight = np.float32(1.0) if purchase else cart
        _age(weights, counts, times_ms, row, time_ms, half_life_ms)
        counts[row] += weight - cart if known else weight
        for other in range(length):
            if other == place:
                continue
            companion = ring_rows[slot, other]
            both = purchase and bought[slot, other]
            added = np.float32(1.0) - cart if both and known else np.float32(1.0) if both else cart
            # A pair that was in the cart together has counted as that, whoever of the two is bought first.
            if known and not both:
                continue
            _age(weights, counts, times_ms, companion, time_ms, half_life_ms)
            _add(neighbours, weights, row, companion, added)
            _add(neighbours, weights, companion, row, added)
        if not known:
            if length == ring_rows.shape[1]:
                for later in range(1, length):
                    bought[slot, later - 1] = bought[slot, later]
                place = length - 1
            append(ring_rows, ring_lengths, slot, row)
        bought[slot, place] = purchase


@njit(cache=True, nogil=True)
def _age(weights, counts, times_ms, row, time_ms, half_life_ms):  # type: ignore[no-untyped-def]
    ahead_ms = time_ms - times_ms[row]
    if ahead_ms <= 0:
        return
    ageing = np.float32(2.0 ** (-ahead_ms / half_life_ms))
    for place in range(weights.shape[1]):
        weights[row, place] *= ageing
    counts[row] *= ageing
    times_ms[row] = time_ms


@njit(cache=True, nogil=True)
def _add(neighbours, weights, row, companion, weight):  # type: ignore[no-untyped-def]
    lightest = 0
    for place in range(neighbours.shape[1]):
        if neighbours[row, place] == companion:
            weights[row, place] += weight
            return
        if neighbours[row, place] == NO_ITEM:
            lightest = place
            break
        if weights[row, place] < weights[row, lightest]:
            lightest = place
    neighbours[row, lightest] = companion
    weights[row, lightest] = weight


@njit(cache=True, nogil=True)
def _companions(  # type: ignore[no-untyped-def]
    neighbours, weights, counts, times_ms, items, rows, says, n, blocked, lift, doubt, half_life_ms, newest_ms,
):  # fmt: skip
    totals = np.zeros(items, np.float32)
    for asked in range(len(rows)):
        row = rows[asked]
        if row >= items or counts[row] <= 0.0 or says[asked] <= 0.0:
            continue
        own = counts[row] * np.float32(2.0 ** (-max(0, newest_ms - times_ms[row]) / half_life_ms))
        ageing = own / counts[row]
        for place in range(neighbours.shape[1]):
            companion = neighbours[row, place]
            if companion == NO_ITEM:
                break
            weight = weights[row, place] * ageing
            other = counts[companion] * np.float32(2.0 ** (-max(0, newest_ms - times_ms[companion]) / half_life_ms))
            common = max(np.float32(1e-6), other) ** lift * (own + np.float32(1e-6))
            totals[companion] += says[asked] * weight * (weight / (weight + doubt)) / common
    return top_n(totals, n, blocked, np.float32(0.0))


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    model = BoughtTogether(BoughtTogetherParameters(baskets_max=2))
    model.update(0, 0, Kind.PURCHASE, 1)
    model.update(0, 1, Kind.PURCHASE, 2)
    model.scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
