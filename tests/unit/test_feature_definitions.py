"""The declared features, the stored windows and the docs page agree."""

from pathlib import Path

from feature_store.definitions import FEATURES
from feature_store.features_page import features_page

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_docs_page_is_made_from_the_definitions() -> None:
    assert PAGE.read_text() == features_page(), "run `python -m feature_store.features_page > docs/features.md`"


def test_no_feature_is_declared_twice() -> None:
    names = [feature.full_name for feature in FEATURES]

    assert len(names) == len(set(names))


def test_every_feature_says_who_owns_it_and_what_it_means() -> None:
    assert all(feature.owner and feature.description and feature.edge and feature.default for feature in FEATURES)
