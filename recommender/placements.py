"""Where on a page suggestions stand, and what each place asks for when its request does not say."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from recommender.errors import ExpressionError
from recommender.filters import EXPRESSION_CHARACTERS_MAX, Booster, Filter
from recommender.requests import N_DEFAULT, N_MAX, Logic

FilterText = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=EXPRESSION_CHARACTERS_MAX, extra_json_schema={"format": "afterclick-filter"}),
]
BoosterText = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=EXPRESSION_CHARACTERS_MAX, extra_json_schema={"format": "afterclick-booster"}
    ),
]
PlacementName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, extra_json_schema={"format": "afterclick-placement"})
]
"""The formats are annotations in the API's description: no pattern says what is an expression, or a name of a place."""


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a place asks for.

    Attributes:
        logic: how to choose.
        fallbacks: asked in order for what `logic` leaves empty; then what is popular.
        n: how many.
        filter: what may stand here at all; a request's own filter narrows it further.
        booster: multiplied with a request's own.
        diversity: 0 to 1.
        title: for people.

    Raises:
        ValueError: an expression that cannot be read.
    """

    logic: Logic = Logic.PERSONAL
    fallbacks: Annotated[tuple[Logic, ...], msgspec.Meta(max_length=6)] = ()
    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] = N_DEFAULT
    filter: FilterText | None = None
    booster: BoosterText | None = None
    diversity: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    title: Annotated[str, msgspec.Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        try:
            if self.filter is not None:
                Filter(self.filter)
            if self.booster is not None:
                Booster(self.booster)
        except ExpressionError as error:
            raise ValueError(f"expression, {error}") from error


PLACEMENTS_DEFAULT: Mapping[str, Placement] = {
    "home": Placement(Logic.PERSONAL, (Logic.TRENDING,), title="For you"),
    "product-page": Placement(Logic.RELATED, (Logic.PERSONAL,), title="Similar products"),
    "cart": Placement(Logic.COMPLEMENTARY, (Logic.PERSONAL,), title="Goes well with it"),
    "category-page": Placement(Logic.PERSONAL, (Logic.TRENDING,), title="Picked for you"),
    "search": Placement(Logic.PERSONAL, (Logic.TRENDING,), title="You may like"),
    "checkout": Placement(Logic.COMPLEMENTARY, (Logic.PERSONAL,), title="Before you go"),
    "order-confirmation": Placement(Logic.COMPLEMENTARY, (Logic.PERSONAL,), title="Goes well with it"),
    "account": Placement(Logic.BUY_AGAIN, (Logic.RECENT, Logic.PERSONAL), title="Buy again"),
    "not-found": Placement(Logic.TRENDING, title="What others look at"),
    "email": Placement(Logic.PERSONAL, (Logic.TRENDING,), title="For you"),
}
"""What a shop has that names none of its own."""


class Placements:
    """The places by name: those of the settings, over which the merchandiser's decisions are laid while we run."""

    def __init__(self, configured: Mapping[str, Placement]) -> None:
        self._configured = dict(configured)
        self._decided: dict[str, Placement] = {}

    def get(self, name: str) -> Placement | None:
        """What a place asks for; None: there is no such place."""
        return self._decided.get(name) or self._configured.get(name)

    def decide(self, decided: Mapping[str, Placement]) -> None:
        """These from now on, over what the settings say, and none that was decided before."""
        self._decided = dict(decided)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._configured, **self._decided})
