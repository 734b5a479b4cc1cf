"""What is alike by what the shop says of it (category, brand, price, title): neighbours for items nobody clicked yet.

An item is a handful of weighted tokens; a token leads through a chain of postings to the items that have it, the
newest described first. An upsert relinks one item in microseconds; an answer walks the chains and scores whom it meets.
"""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.catalog import Product
from recommender.models.content_kernels import NO_SLOT, describe, similar, tokens_of
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
)


class ContentParameters(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        tokens_max: of one item; what comes after is left out.
        buckets: tokens are told apart by a hash below this; two that share one count as one.
        walk_max: newest items of a token that are looked at.
        last: newest distinct items of the prefix that are asked.
        decay: of an item's say per step back.
        category, brand, title, price: what a token of each counts, before its rarity.
        band: prices within this factor of each other share a token for certain.
    """

    tokens_max: int = 16
    buckets: int = 1 << 18
    walk_max: int = 200
    last: int = 5
    decay: float = 0.7
    category: float = 1.0
    brand: float = 0.7
    title: float = 1.0
    price: float = 0.5
    band: float = 1.25


class Content:
    """Cosine of rarity-weighted tokens with the items of the prefix, the newest saying most.

    Rows are whatever numbering `describe` is given; in an API process the catalogue's own, for most of what this model
    is for has no row in the others.
    """

    name = "content"

    def __init__(self, parameters: ContentParameters | None = None) -> None:
        self.parameters = p = parameters if parameters is not None else ContentParameters()
        self._tokens = np.full((0, p.tokens_max), NO_SLOT, np.int32)
        self._weights = np.zeros((0, p.tokens_max), np.float32)
        self._following = np.zeros(0, np.int32)
        self._before = np.zeros(0, np.int32)
        self._heads = np.full(p.buckets, NO_SLOT, np.int32)
        self._counts = np.zeros(p.buckets, np.int32)
        self._profile = np.zeros(p.buckets, np.float32)
        self._marks = np.zeros(0, np.uint8)
        self._stamps = np.zeros(0, np.int64)
        self._stamp = 0
        self._items = 0
        self._field_weights = np.array([p.category, p.brand, p.title, p.price], np.float32)
        self._found = np.zeros(p.tokens_max, np.int32)
        self._found_weights = np.zeros(p.tokens_max, np.float32)

    def describe(self, row: int, product: Product | None) -> None:
        """Take over what the shop says of an item from now on; None: nothing any more."""
        self._reserve(row + 1)
        count = self._tokenise(product) if product is not None else 0
        self._link(row, self._found, self._found_weights, count)

    @property
    def described(self) -> NDArray[np.bool_]:
        """Shape (rows,): has the shop said anything of it? Fresh."""
        held: NDArray[np.bool_] = self._tokens[: self._items, 0] >= 0
        return held

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Clicks teach nothing here; a new item gets room."""
        self._reserve(row + 1)

    def update_many(self, events: Events, /) -> None:
        """Clicks teach nothing here; new items get room."""
        self._reserve(int(events.rows.max(initial=-1)) + 1)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """What is like the newest items of `prefix`, none of which is answered itself."""
        rows, says, _ = self._asked(prefix)
        if not len(rows):
            return EMPTY
        return Scored(*self._similar(rows, says, n, blocked))

    def contributions(self, prefix: Prefix, rows: Rows) -> NDArray[np.float64]:
        """Shape (len(rows), len(prefix.rows)): what each event adds to each row's score, were no list cut short."""
        shares = np.zeros((len(rows), len(prefix.rows)))
        asked, says, events = self._asked(prefix)
        blocked = np.ones(self._items, np.bool_)
        blocked[rows[rows < self._items]] = False
        place = {int(row): number for number, row in enumerate(rows)}
        blocked[asked] = True
        for row, say, event in zip(asked, says, events, strict=True):
            found, scores = self._similar(row[None], say[None], max(1, len(rows)), blocked)
            for other, score in zip(found.tolist(), scores.tolist(), strict=True):
                shares[place[other], event] = score
        return shares

    def state(self) -> dict[str, NDArray[Any]]:
        """Every item's tokens, and in which order they were described."""
        items = self._items
        return {
            "tokens": self._tokens[:items].copy(),
            "weights": self._weights[:items].copy(),
            "stamps": self._stamps[:items].copy(),
        }

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.__init__(self.parameters)  # type: ignore[misc]
        self._reserve(len(state["tokens"]))
        for row in np.argsort(state["stamps"], kind="stable").tolist():
            count = int((state["tokens"][row] >= 0).sum())
            self._link(row, state["tokens"][row].copy(), state["weights"][row].copy(), count)

    @property
    def nbytes(self) -> int:
        """What the model takes."""
        slots = self._tokens.nbytes + self._weights.nbytes + self._following.nbytes + self._before.nbytes
        buckets = self._heads.nbytes + self._counts.nbytes + self._profile.nbytes
        return slots + buckets + self._marks.nbytes + self._stamps.nbytes

    def _tokenise(self, product: Product) -> int:
        p = self.parameters
        text = f"{product.category or ''}\0{product.brand or ''}\0{product.title}".lower().encode()
        bands = np.empty(0, np.int64)
        if product.price:
            step = math.log(product.price) / math.log(p.band)
            # Two bands that lie across each other: near prices share at least one, however they fall.
            bands = np.array([2 * math.floor(step / 2), 2 * math.floor((step + 1) / 2) + 1], np.int64)
        return int(
            tokens_of(
                *(np.frombuffer(text, np.uint8), bands, p.buckets, p.tokens_max, self._field_weights),
                *(self._found, self._found_weights),
            )
        )

    def _link(self, row: int, tokens: Rows, weights: NDArray[np.float32], count: int) -> None:
        self._stamp += 1
        self._stamps[row] = self._stamp
        describe(
            *(self._tokens, self._weights, self._following, self._before, self._heads, self._counts),
            *(row, tokens, weights, count),
        )

    def _asked(self, prefix: Prefix) -> tuple[Rows, NDArray[np.float32], list[int]]:
        """The newest distinct rows that are described, what each says, and which event it is."""
        rows: list[int] = []
        events: list[int] = []
        for event in range(len(prefix.rows) - 1, -1, -1):
            row = int(prefix.rows[event])
            if len(rows) == self.parameters.last:
                break
            if row < self._items and row not in rows and self._tokens[row, 0] >= 0 and KIND_WEIGHT[prefix.kinds[event]]:
                rows.append(row)
                events.append(event)
        says = np.exp(-self.parameters.decay * np.arange(len(rows))).astype(np.float32)
        return np.array(rows, np.int32), says, events

    def _similar(self, rows: Rows, says: NDArray[np.float32], n: int, blocked: Blocked) -> tuple[Rows, Any]:
        found: tuple[Rows, Any] = similar(
            *(self._tokens, self._weights, self._following, self._heads, self._counts, self._profile, self._marks),
            *(rows, says, self._items, self._items, self.parameters.walk_max, n, blocked),
        )
        return found

    def _reserve(self, items: int) -> None:
        if items <= len(self._stamps):
            self._items = max(self._items, items)
            return
        width = self.parameters.tokens_max
        self._tokens = grown(self._tokens, items, NO_SLOT)
        self._weights = grown(self._weights, items)
        self._following = grown(self._following, len(self._tokens) * width, NO_SLOT)
        self._before = grown(self._before, len(self._tokens) * width, NO_SLOT)
        self._marks = grown(self._marks, items)
        self._stamps = grown(self._stamps, items)
        self._items = max(self._items, items)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this model."""
    model = Content(ContentParameters(buckets=64))
    for row in range(2):
        model.describe(row, Product("x", title="a lamp", category="Home > Light", price=2.0))
    model.scores(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)), 1)
