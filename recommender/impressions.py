"""What was suggested and passed over counts less the next time, so that pages do not repeat themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from recommender.models.item_table import ItemTable
from recommender.models.protocol import Rows, Scores


def discounts_of(shown: Sequence[str], discount: float) -> Mapping[str, float]:
    """By item id what is left of its score: `(1 - discount)` to the power of how often it was shown.

    Impression discounting (Li et al., KDD 2014) in its plainest form; an item that was clicked has its click to speak
    for it.

    Args:
        shown: item ids, one for each time; at most some dozens.
        discount: 0 to 1.
    """
    if not shown or discount <= 0.0:
        return {}
    return {item_id: (1.0 - discount) ** count for item_id, count in Counter(shown).items()}


def discounts_on(rows: Rows, items: ItemTable, discounts: Mapping[str, float]) -> Scores | None:
    """What the scores of `rows` are multiplied by; None: none of them was shown."""
    by_row = {row: left for item_id, left in discounts.items() if (row := items.row(item_id)) is not None}
    asked = rows.tolist()
    if by_row.keys().isdisjoint(asked):
        return None
    return np.array([by_row.get(row, 1.0) for row in asked], np.float32)
