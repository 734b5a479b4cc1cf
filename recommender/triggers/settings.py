"""Settings of the triggers: `[triggers]`."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class TriggerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shops want to be told of. Only visitors with the consent `full` are ever spoken of."""

    enabled: bool = False
    """Runs a process of its own."""
    cart_left_ms: Positive = 3_600_000
    """How long nothing must have been done before a cart counts as left behind."""
    cart_ms_max: Positive = 604_800_000
    """Items put into the cart longer ago are no reason to write to anybody."""
    viewers_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    """Latest viewers remembered for each item; who looked longest ago is forgotten first. About 70 bytes each."""
    viewers_ms: Positive = 2_592_000_000
    """For how long a look counts as interest."""
    price_drop_min: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    """The smallest fall of a price, as a share of it, that is worth telling."""
    once_ms: Positive = 172_800_000
    """How long it is remembered what was told; longer than the day in which nothing is told twice."""
    receive_entries_max: Positive = 1_000
    """Events taken at once."""
