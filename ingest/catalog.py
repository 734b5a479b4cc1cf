"""Product facts as a vocabulary: what `POST /v1/catalog` takes and the topic `catalog` holds."""

from typing import Annotated, Literal

import msgspec

from ingest.events import ItemId

_AVAILABLE = frozenset({"in_stock", "preorder"})


class Product(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the shop says of one product; an upsert replaces all of it. Unknown fields pass and are dropped."""

    item_id: ItemId
    title: Annotated[str, msgspec.Meta(max_length=512)] = ""
    price: Annotated[float, msgspec.Meta(ge=0)] | None = None
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    category: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    brand: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    image: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    url: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    availability: Literal["in_stock", "out_of_stock", "preorder", "discontinued"] = "in_stock"
    margin: float | None = None

    @property
    def available(self) -> bool:
        """May it be suggested at all?"""
        return self.availability in _AVAILABLE
