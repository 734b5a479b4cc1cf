"""What a reader knows of item numbers, and what it says of one that it does not know."""

import pytest

from feature_store.errors import StoreUnavailableError
from feature_store.item_index import ItemNames


def test_an_item_number_of_another_store_is_no_crash() -> None:
    names = ItemNames()
    names.learn([b"", b"85123A"])

    with pytest.raises(StoreUnavailableError, match="read again"):
        names.ids_of([1, 7])
