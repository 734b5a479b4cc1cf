"""The vocabulary of what suggestions earned."""

from typing import Literal

import msgspec

By = Literal["placement", "variant", "rules", "model", "hour"]
BY: tuple[By, ...] = ("placement", "variant", "rules", "model", "hour")


class Earned(msgspec.Struct, frozen=True):
    """One group.

    Attributes:
        key: its placement, `experiment/variant`, rule set version, model (the time it was made) or hour, as text.
        shown, clicked: suggested items, each once an answer. added: times one was put into a cart afterwards.
        sold: pieces less those given back. revenue: in the shop's currency, less refunds.
    """

    key: str
    shown: int
    clicked: int
    added: int
    sold: int
    revenue: float
