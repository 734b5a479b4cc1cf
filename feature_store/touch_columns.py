"""What archived events change, column by column: the same touches that `event_touches` gathers from events one by one.

A property test holds the two against each other (`tests/property/test_touch_columns.py`). Here no Python object is made
for an event: polars takes the columns apart and numpy lays out the touches.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store import keys, layouts
from feature_store.event_touches import OTHER_PLACEMENT
from feature_store.families import CATEGORIES, EVENT_KINDS, ITEMS, PLACEMENTS, VISITORS, Family
from feature_store.kinds import KIND_OF_EVENT, Kind
from feature_store.prices import price_code
from feature_store.touches import (
    AMOUNT,
    CATEGORY,
    ITEM,
    KIND,
    MAJOR,
    MINOR_INDEX,
    PRICE,
    TIME_MS,
    TIME_MS_END,
    TOUCH_COLUMNS,
    Touches,
)
from feature_store.visitor_layout import SHOWN_KIND
from ingest.archive_rows import SCHEMA
from ingest.events import EVENT_NAMES

Numbers = NDArray[np.int64]

COLUMNS: Final = (
    "partition",
    "position",
    "accepted_at_ms",
    "event",
    "visitor_key",
    "time_ms",
    "received_at_ms",
    "item_id",
    "quantity",
    "price",
    "item_category",
    "browser_key",
    "attribution",
    "late",
)
"""What is read of the archive."""

_ALL_COLUMNS: Final = tuple(SCHEMA)
_NONE: Final = -1
_LINE_COLUMNS: Final = ("item_id", "quantity", "price", "item_category")


def _by_event(numbers: dict[str, int]) -> Numbers:
    return np.array([numbers.get(name, _NONE) for name in EVENT_NAMES], np.int64)


_RING_KIND: Final = _by_event(
    {**{name: int(kind) for name, kind in KIND_OF_EVENT.items()}, "view_item_list": SHOWN_KIND}
)
_ITEM_METRIC: Final = _by_event(layouts.ITEM_METRIC_OF_EVENT)
_PLACEMENT_METRIC: Final = _by_event(layouts.PLACEMENT_METRIC_OF_EVENT)
_EVENT_NUMBER: Final = _by_event({name: number for number, name in enumerate(layouts.EVENT_KINDS.metrics)})


def columns_of(views: Sequence[object]) -> tuple[str, ...]:
    """What is read of the archive where a shop's counted views are wanted, too: their keys may be made of any field."""
    return _ALL_COLUMNS if views else COLUMNS


class Names:
    """Numbers of item ids, and of categories as `keys.category_name` has them, given in the order they come."""

    def __init__(self) -> None:
        self.names: list[str] = [""]
        self._number_of: dict[str, int] = {"": 0}
        self._hashes = np.zeros(1024, np.uint32)

    @property
    def hashes(self) -> NDArray[np.uint32]:
        """Hash of the name by its number: what orders a visitor's ring."""
        return self._hashes[: len(self.names)]

    def number_of(self, name: str) -> int:
        """The number of a name, given now if it has none."""
        number = self._number_of.get(name)
        if number is None:
            number = self._number_of[name] = len(self.names)
            self.names.append(name)
            self._hash(number, name)
        return number

    def name_of(self, number: int) -> str:
        """The inverse of `number_of`."""
        return self.names[number]

    def find(self, name: str) -> int | None:
        """The number of a name, None when it never came."""
        return self._number_of.get(name)

    def set_number(self, name: str, number: int) -> None:
        """Take note of a number that somebody else gave; 0: the name is kept nowhere."""
        self._number_of[name] = number
        if number:
            self.names += [""] * (number + 1 - len(self.names))
            self.names[number] = name
            self._hash(number, name)

    def _hash(self, number: int, name: str) -> None:
        if number >= len(self._hashes):
            self._hashes = np.resize(self._hashes, 2 * number)
        self._hashes[number] = crc32(name.encode())

    def numbers_of(self, names: pl.Series, *, prefix: str = "") -> Numbers:
        """Shape (n,): the number of `prefix` and each name; 0 for null and the empty text."""
        return mapped(names, lambda name: self.number_of(prefix + name) if name else 0)


class Touching(NamedTuple):
    """The touches of one family, in order of position.

    Attributes:
        family: whose.
        entity: shape (n,), what each is of: an item's or category's number, the place of the visitor's key or of the
            placement in the batch, or 0.
        event: shape (n,), the place of its event in the batch.
        touches: shape (n, 9); `ROW` is not set.
    """

    family: Family
    entity: Numbers
    event: Numbers
    touches: Touches


class Batch(NamedTuple):
    """Some events of one partition, in order of position, those that move no window left out.

    Attributes:
        events: with the columns `COLUMNS`.
        visitor_keys: the different ones; the entities of the family "visitor" are places in it.
        placements: the same for the family "placement".
        families: at most one of each family, families without a touch left out.
    """

    events: pl.DataFrame
    visitor_keys: list[str]
    placements: list[str]
    families: list[Touching]

    def keys_of(self, family: Family, entities: list[int], names: Names) -> list[str]:
        """What entities of a family are called: visitor's key, item id, category, placement; "" for the shop."""
        if family is VISITORS:
            return [self.visitor_keys[place] for place in entities]
        if family is PLACEMENTS:
            return [self.placements[place] for place in entities]
        if family is EVENT_KINDS:
            return ["" for _ in entities]
        return [keys.category_of(names.name_of(number)) for number in entities]


def touch_columns(rows: pl.DataFrame, names: Names, families: Sequence[Family], *, future_ms_max: int) -> Batch:
    """What the rows, of one partition and in order of position, change in the records of `families`.

    Args:
        rows: with the columns `COLUMNS`.
        names: numbers of items and categories; new ones are given.
        families: of visitors, items, categories, placements and event kinds those that are wanted.
        future_ms_max: as the worker has it.
    """
    events = rows.filter(applicable(future_ms_max))
    wanted = set(families)
    event = events["event"].cast(pl.Enum(EVENT_NAMES)).to_physical().to_numpy().astype(np.int64)
    places = _places_of(events)
    found: list[Touching] = []
    visitor_keys: list[str] = []
    placements: list[str] = []
    if EVENT_KINDS in wanted:
        found.append(_event_kinds(events, event, places))
    if wanted & {VISITORS, ITEMS, CATEGORIES}:
        lines = _lines_of(events, event, names, with_categories=bool(wanted & {VISITORS, CATEGORIES}))
        if VISITORS in wanted:
            visitor_keys, of_visitor = _distinct(events["visitor_key"])
            found.append(_visitors(event, of_visitor, lines, places))
        found += [_of_goods(family, event, lines, places) for family in (ITEMS, CATEGORIES) if family in wanted]
    if PLACEMENTS in wanted:
        placements, touching = _placements(events, event, places)
        found.append(touching)
    return Batch(events, visitor_keys, placements, [touching for touching in found if len(touching.touches)])


def names_in(rows: pl.DataFrame) -> set[str]:
    """Every item, and every category as `keys.category_name` has it, that is named in the rows."""
    items = rows["item_id"].explode().drop_nulls().unique().to_list()
    categories = rows["item_category"].explode().drop_nulls().unique().to_list()
    return {*items, *(keys.category_name(category) for category in categories if category)}


def mapped(values: pl.Series, number_of: Callable[[Any], int]) -> Numbers:
    """Shape (n,): `number_of` each value, called once for each different one; 0 for null."""
    different = values.unique()
    numbers = [0 if value is None else number_of(value) for value in different.to_list()]
    table = pl.DataFrame({"value": different, "number": pl.Series(numbers, dtype=pl.Int64)})
    joined = pl.DataFrame({"value": values}).join(
        table, on="value", how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["number"].to_numpy()


def applicable(future_ms_max: int) -> pl.Expr:
    """As `placing` and `event_touches.check_event`; what the archive holds has passed the rest of their checks."""
    time_ms = pl.col("time_ms")
    in_time = (time_ms >= 0) & (time_ms < TIME_MS_END) & (time_ms <= pl.col("received_at_ms") + future_ms_max)
    return in_time & ~pl.col("late")


def _places_of(events: pl.DataFrame) -> Touches:
    """Shape (events, 9) with position, time and 32 bits of the visitor's key, and amounts of 1."""
    number = events.select(
        major=pl.col("position").str.slice(0, 16).str.to_integer(base=16, dtype=pl.Int64),
        minor=pl.col("position").str.slice(17, 8).str.to_integer(base=16, dtype=pl.Int64),
        index=pl.col("position").str.slice(26, 8).str.to_integer(base=16, dtype=pl.Int64),
        visitor=pl.col("visitor_key").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64),
    )
    places = np.zeros((len(events), TOUCH_COLUMNS), np.int64)
    places[:, MAJOR] = number["major"].to_numpy()
    places[:, MINOR_INDEX] = number["minor"].to_numpy() << 32 | number["index"].to_numpy()
    places[:, TIME_MS] = events["time_ms"].to_numpy()
    places[:, AMOUNT] = 1
    places[:, ITEM] = number["visitor"].to_numpy()
    return places


def _event_kinds(events: pl.DataFrame, event: Numbers, places: Touches) -> Touching:
    touches = places.copy()
    touches[:, KIND] = _EVENT_NUMBER[event]
    touches[:, AMOUNT] = events["browser_key"].is_null().to_numpy()
    return Touching(EVENT_KINDS, np.zeros(len(events), np.int64), np.arange(len(events)), touches)


class _Lines(NamedTuple):
    """The item lines of events whose items are kept: place of the event, and what the line says."""

    place: Numbers
    item: Numbers
    quantity: Numbers
    category: Numbers
    price: Numbers


def _lines_of(events: pl.DataFrame, event: Numbers, names: Names, *, with_categories: bool) -> _Lines:
    kept = (_RING_KIND[event] != _NONE) & (_RING_KIND[event] != Kind.SEARCH)
    lines = (
        events.lazy()
        .select(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"), *_LINE_COLUMNS[:-1], _categories())
        .filter(pl.Series(kept))
        .filter(pl.col("item_id").list.len() > 0)
        .explode(_LINE_COLUMNS)
        .collect()
    )
    item = names.numbers_of(lines["item_id"])
    if not item.all():  # a store that holds enough items gave no number to some; they are kept nowhere
        lines, item = lines.filter(pl.Series(item != 0)), item[item != 0]
    none = np.zeros(len(lines), np.int64)
    return _Lines(
        lines["place"].to_numpy(),
        item,
        lines["quantity"].to_numpy().astype(np.int64),
        names.numbers_of(lines["item_category"], prefix=keys.category_name("")) if with_categories else none,
        mapped(lines["price"], price_code) if with_categories else none,
    )


def _categories() -> pl.Expr:
    """None for each line of a file that was written before the column was."""
    missing = pl.col("item_id").list.eval(pl.lit(None, pl.String))
    return pl.coalesce("item_category", missing).alias("item_category")


def _visitors(event: Numbers, of_visitor: Numbers, lines: _Lines, places: Touches) -> Touching:
    """One touch for every line, one for a search; in the order of the events."""
    searches = np.flatnonzero(_RING_KIND[event] == Kind.SEARCH)
    place = np.concatenate((lines.place, searches))
    touches = places[place]
    touches[:, KIND] = _RING_KIND[event[place]]
    of_lines, of_searches = touches[: len(lines.place)], touches[len(lines.place) :]
    of_lines[:, AMOUNT], of_lines[:, ITEM] = lines.quantity, lines.item
    of_lines[:, CATEGORY], of_lines[:, PRICE] = lines.category, lines.price
    of_searches[:, ITEM] = 0
    order = np.argsort(place, kind="stable")
    return Touching(VISITORS, of_visitor[place[order]], place[order], touches[order])


def _of_goods(family: Family, event: Numbers, lines: _Lines, places: Touches) -> Touching:
    metric = _ITEM_METRIC[event[lines.place]]
    entity = lines.item if family is ITEMS else lines.category
    kept = (metric != _NONE) & (entity != 0)
    touches = places[lines.place[kept]]
    touches[:, KIND] = metric[kept]
    return Touching(family, entity[kept], lines.place[kept], touches)


def _placements(events: pl.DataFrame, event: Numbers, places: Touches) -> tuple[list[str], Touching]:
    """What the events of suggestions count for where they were shown."""
    # Not whether there is a struct: some readers give one of nulls where there is none.
    attributed = events["attribution"].struct.field("placement").is_not_null().to_numpy()
    place = np.flatnonzero((_PLACEMENT_METRIC[event] != _NONE) & attributed)
    suggested = events.select("quantity", "price", pl.col("attribution").struct.unnest())[place]
    names, entity = _shown_at(suggested)
    metric = _PLACEMENT_METRIC[event[place]]
    items, pieces, hundredths = _own_lines(suggested)
    sold = metric == layouts.SOLD
    paid = np.flatnonzero(sold & (hundredths != 0))
    of_event = np.concatenate((place, place[paid]))
    touches = places[of_event]
    touches[:, KIND] = np.concatenate((metric, np.full(len(paid), layouts.REVENUE)))
    touches[:, AMOUNT] = np.concatenate((np.where(sold, pieces, items), hundredths[paid]))
    order = np.argsort(of_event, kind="stable")
    entities = np.concatenate((entity, entity[paid]))
    return names, Touching(PLACEMENTS, entities[order], of_event[order], touches[order])


def _shown_at(suggested: pl.DataFrame) -> tuple[list[str], Numbers]:
    """The names of placements and variants, and the place of each event's among them."""
    pairs = suggested.select(pl.col("placement").replace("", OTHER_PLACEMENT), pl.col("variant").fill_null(""))
    different = pairs.unique(maintain_order=True).with_row_index("place")
    joined = pairs.join(different, on=pairs.columns, how="left", maintain_order="left")
    names = [keys.placement_name(placement, variant) for _, placement, variant in different.iter_rows()]
    return names, joined["place"].to_numpy().astype(np.int64)


def _own_lines(suggested: pl.DataFrame) -> tuple[Numbers, Numbers, Numbers]:
    """Of each event, shape (n,): lines that were in the answer, their pieces, and hundredths that they come to.

    A price is rounded as Python rounds.
    """
    lines = (
        suggested.select("quantity", "price", "foreign", n=pl.int_range(pl.len(), dtype=pl.Int64))
        .with_columns(line=pl.int_ranges(pl.col("quantity").list.len().cast(pl.Int32), dtype=pl.Int32))
        .filter(pl.col("quantity").list.len() > 0)
        .explode("quantity", "price", "line")
        .filter(~pl.col("foreign").list.contains(pl.col("line")).fill_null(False))
    )
    number, pieces = lines["n"].to_numpy(), lines["quantity"].to_numpy().astype(np.int64)
    hundredths = np.rint(100 * lines["price"].fill_null(0).to_numpy()).astype(np.int64) * pieces
    sums = tuple(np.zeros(len(suggested), np.int64) for _ in range(3))
    for total, amounts in zip(sums, (np.ones_like(pieces), pieces, hundredths), strict=True):
        np.add.at(total, number, amounts)
    return sums[0], sums[1], sums[2]


def _distinct(values: pl.Series) -> tuple[list[str], Numbers]:
    """The different values, and the place of each value among them."""
    different = values.unique(maintain_order=True)
    table = pl.DataFrame({"value": different, "place": pl.int_range(len(different), dtype=pl.Int64, eager=True)})
    joined = pl.DataFrame({"value": values}).join(table, on="value", how="left", maintain_order="left")
    return different.to_list(), joined["place"].to_numpy()
