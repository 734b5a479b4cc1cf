"""A small, safe language over the catalogue: filters say which items may be shown, boosters how much each one weighs.

`Filters().filter('price < 50 and category == current.category').mask(columns, current="22423")`
"""

from recommender.filters.columns import Columns
from recommender.filters.compiled import BOOST_MAX, Booster, Filter, Filters
from recommender.filters.fields import FEATURES, FIELDS
from recommender.filters.parser import parse
from recommender.filters.tokens import EXPRESSION_CHARACTERS_MAX

__all__ = [
    "BOOST_MAX",
    "EXPRESSION_CHARACTERS_MAX",
    "FEATURES",
    "FIELDS",
    "Booster",
    "Columns",
    "Filter",
    "Filters",
    "parse",
]
