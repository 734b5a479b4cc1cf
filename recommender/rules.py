"""What a merchandiser may rule: pin, boost, bury, hide and filter, when, where and for whom."""

from enum import StrEnum
from typing import Annotated

import msgspec

from recommender.errors import ExpressionError
from recommender.filters import EXPRESSION_CHARACTERS_MAX, Filter
from recommender.requests import N_MAX, ItemId

RuleId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=100)]
_TimeMs = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]

BOOST_FACTOR = 2.0
BURY_FACTOR = 0.1


class Consequence(StrEnum):
    """What a rule does with the items it is about."""

    PIN = "pin"
    BOOST = "boost"
    BURY = "bury"
    HIDE = "hide"
    FILTER = "filter"


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a rule speaks: each list that is not empty must name what is at hand.

    Attributes:
        placements: where on the page.
        categories: of the page; `"Home"` means all below it too (`"Home > Kitchen"`).
        items: the page's own item.
        segments: what the request says of the visitor, or what their events say (`recommender.segments`).
    """

    placements: _Names = ()
    categories: _Names = ()
    items: Annotated[tuple[ItemId, ...], msgspec.Meta(max_length=1000)] = ()
    segments: _Names = ()


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From `from_ms` on, until just before `until_ms`; None: open."""

    from_ms: _TimeMs | None = None
    until_ms: _TimeMs | None = None

    def __post_init__(self) -> None:
        if self.from_ms is not None and self.until_ms is not None and self.from_ms >= self.until_ms:
            raise ValueError(f"wanted from_ms before until_ms; got {self.from_ms} and {self.until_ms}")

    def holds(self, now_ms: int) -> bool:
        """Is `now_ms` in it?"""
        return (self.from_ms is None or self.from_ms <= now_ms) and (self.until_ms is None or now_ms < self.until_ms)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule: `consequence` for the items that `items`, `categories`, `brands` and `expression` all mean.

    An item is meant when every list that is not empty names it, and the expression holds for it. `filter` lets nothing
    but the meant items through.

    Attributes:
        rule_id: also what `explain` and the counters call it.
        categories: of the item; `"Home"` means all below it too.
        expression: a condition on the item, as `price < 50 and category == current.category`; see docs/filters.md.
        factor: of the score; boost > 1 (2 when None), bury below 1 (0.1 when None).
        slot: of the first pinned item, the next ones follow; 1 is the first.
        priority: the higher one wins where two rules disagree.
        validity: any period that holds is enough; none: always.
        expires_ms: from then on it is over, whatever `validity` says.
        title: for people.

    Raises:
        ValueError: it means no item, has a factor or slot that its consequence cannot use, or an expression that
            cannot be read.
    """

    rule_id: RuleId
    consequence: Consequence
    items: Annotated[tuple[ItemId, ...], msgspec.Meta(max_length=1000)] = ()
    categories: _Names = ()
    brands: _Names = ()
    expression: Annotated[str, msgspec.Meta(min_length=1, max_length=EXPRESSION_CHARACTERS_MAX)] | None = None
    when: Condition = Condition()
    factor: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None
    slot: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = 1
    priority: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = 0
    enabled: bool = True
    validity: Annotated[tuple[Period, ...], msgspec.Meta(max_length=100)] = ()
    expires_ms: _TimeMs | None = None
    title: Annotated[str, msgspec.Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        if not (self.items or self.categories or self.brands or self.expression):
            raise ValueError("wanted items, categories, brands or an expression that the rule is about; got none")
        if self.consequence is Consequence.PIN and (
            not self.items or self.categories or self.brands or self.expression
        ):
            raise ValueError("wanted a pin of items alone; got something else; boost those instead")
        if self.expression is not None:
            try:
                Filter(self.expression)
            except ExpressionError as error:
                raise ValueError(f"expression, {error}") from error
        if self.consequence is not Consequence.PIN and self.slot != 1:
            raise ValueError(f"wanted a slot for pins alone; got slot {self.slot} for {self.consequence}")
        low, high = _FACTORS.get(self.consequence, (None, None))
        if self.factor is None:
            return
        if low is None or high is None or not low <= self.factor <= high or self.factor == 1:
            wanted = f"a factor of {low} to {high}, not 1" if low is not None else "no factor"
            raise ValueError(f"wanted {wanted} for {self.consequence}; got {self.factor}")

    @property
    def weight(self) -> float:
        """What a score is multiplied by."""
        if self.factor is not None:
            return self.factor
        return {Consequence.BOOST: BOOST_FACTOR, Consequence.BURY: BURY_FACTOR}.get(self.consequence, 1.0)

    def live(self, now_ms: int) -> bool:
        """Enabled, within its periods and not expired?"""
        if not self.enabled or (self.expires_ms is not None and now_ms >= self.expires_ms):
            return False
        return not self.validity or any(period.holds(now_ms) for period in self.validity)

    def changes_ms(self) -> list[int]:
        """Every time at which `live` may change its answer."""
        times = [time for period in self.validity for time in (period.from_ms, period.until_ms)] + [self.expires_ms]
        return [time for time in times if time is not None]


_FACTORS = {Consequence.BOOST: (1.0, 1000.0), Consequence.BURY: (0.0, 1.0)}
