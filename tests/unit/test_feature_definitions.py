"""The declared features, the stored windows and the docs page agree."""

from pathlib import Path

import pytest

from feature_store.bucket_features import ITEM_VIEW
from feature_store.definitions import Registry
from feature_store.errors import UnknownFeatureError
from feature_store.features_page import features_page
from feature_store.registry import REGISTRY

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_docs_page_is_made_from_the_definitions() -> None:
    assert PAGE.read_text() == features_page(), "run `python -m feature_store.features_page > docs/features.md`"


def test_no_feature_can_be_declared_twice() -> None:
    with pytest.raises(ValueError, match=r"feature item:view_1m: wanted it declared once; got it twice"):
        REGISTRY.extended([], [ITEM_VIEW])


def test_a_view_needs_its_entity_declared() -> None:
    with pytest.raises(ValueError, match="feature view item: wanted a declared entity; got item"):
        Registry([], [ITEM_VIEW])


def test_an_unknown_feature_is_refused_with_some_that_are_declared() -> None:
    with pytest.raises(UnknownFeatureError, match=r"got visitor:vieww_1h; .* for example visitor:view_1m"):
        REGISTRY.find("visitor:vieww_1h")


def test_every_feature_says_who_owns_it_and_what_it_means() -> None:
    assert all(feature.owner and feature.description and feature.edge for feature in REGISTRY.features)
