"""The signed `recommendation_id`: says what it was made with, never too long, and no altered one is believed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.attribution import FRESH_MS, OTHER, Attributor, Names
from ingest.events import Item
from ingest.recommendation_token import (
    CHARS_MAX,
    DRAFTED_ITEMS_MAX,
    ITEMS_MAX,
    Token,
    TokenCodec,
    TokenRefusedError,
    item_code,
    name_code,
)

SECRET, KEY = b"s" * 32, b"k" * 16
NOW_MS = 1_784_000_000_000
ITEM_IDS = st.lists(st.text(min_size=1, max_size=64), max_size=200)


def _token(item_ids: list[str], **fields: object) -> str:
    made = {"served_ms": NOW_MS, "visitor_key": KEY, "placement": "home"} | fields
    return TokenCodec(SECRET).make(item_ids, **made)  # type: ignore[arg-type]


def _attributor(secret: bytes = SECRET) -> Attributor:
    return Attributor(TokenCodec(secret), Names(["home", "e/treatment"]))


def _items(*ids: str) -> tuple[Item, ...]:
    return tuple(Item(item_id) for item_id in ids)


@given(
    ITEM_IDS,
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 32) - 1),
    st.text(max_size=64),
    st.text(max_size=65),
    st.binary(min_size=16, max_size=16),
)
def test_a_token_says_what_it_was_made_with(
    item_ids: list[str], served_ms: int, model_ms: int, rules: int, placement: str, variant: str, key: bytes
) -> None:
    token = TokenCodec(SECRET).make(
        item_ids,
        served_ms=served_ms,
        visitor_key=key,
        placement=placement,
        variant=variant,
        rules=rules,
        model_ms=model_ms,
    )

    assert len(token) <= CHARS_MAX
    assert re.fullmatch("[A-Za-z0-9_-]+", token)
    codes = tuple(item_code(item_id) for item_id in item_ids[:ITEMS_MAX])
    wanted = Token(served_ms, model_ms, rules, name_code(placement), name_code(variant), key[:2], codes)
    assert TokenCodec(SECRET).read(token) == wanted


@given(ITEM_IDS, st.integers(0, 10_000), st.integers(1, 255))
def test_an_altered_token_is_refused(item_ids: list[str], place: int, change: int) -> None:
    token = bytearray(_token(item_ids).encode())
    # Not the last character: it may hold bits that belong to no byte.
    token[place % (len(token) - 1)] ^= change

    with pytest.raises(TokenRefusedError):
        TokenCodec(SECRET).read(token.decode("latin-1"))


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        TokenCodec(SECRET).read(text)


def test_two_answers_alike_have_tokens_of_their_own() -> None:
    codec = TokenCodec(SECRET)

    tokens = {codec.make(["a"], served_ms=NOW_MS, visitor_key=KEY, placement="home") for _ in range(1_000)}

    assert len(tokens) == 1_000


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=60), st.integers(0, 2**60 - 1))
def test_a_drafted_token_says_which_list_each_item_came_from(item_ids: list[str], bits: int) -> None:
    teams = [bits >> place & 1 for place in range(len(item_ids))]

    token = _token(item_ids, variant="e/a", other_variant="e/b", teams=teams)

    found = TokenCodec(SECRET).read(token)
    assert len(token) <= CHARS_MAX
    assert found.item_codes == tuple(item_code(item_id) for item_id in item_ids[: len(found.item_codes)])
    assert list(found.teams) == (teams[:DRAFTED_ITEMS_MAX] if item_ids else [])
    assert found.other_variant_code == (name_code("e/b") if item_ids else 0)


def test_a_click_on_a_drafted_item_counts_for_its_own_variant() -> None:
    attributor = Attributor(TokenCodec(SECRET), Names(["home", "e/a", "e/b"]))
    token = _token(["mug", "pot"], variant="e/a", other_variant="e/b", teams=[0, 1])

    found = [
        attributor.attribute(token, _items(*items), visitor_key=KEY, time_ms=NOW_MS)
        for items in (("mug",), ("pot",), ("mug", "pot"))
    ]

    assert [one.variant for one in found if one is not None] == ["e/a", "e/b", "e/interleaved"]


def test_a_token_counts_for_its_own_items_alone() -> None:
    token = _token(["a", "b"], variant="e/treatment", rules=7, model_ms=NOW_MS - 5)

    found = _attributor().attribute(token, _items("a", "x", "b"), visitor_key=KEY, time_ms=NOW_MS + 1_000)

    assert found is not None
    assert (found.placement, found.variant, found.rules, found.model_ms) == ("home", "e/treatment", 7, NOW_MS - 5)
    assert found.foreign == (1,)
    assert _attributor().attribute(token, _items("x"), visitor_key=KEY, time_ms=NOW_MS) is None


def test_forged_expired_and_foreign_tokens_count_for_nothing() -> None:
    token, items = _token(["a"]), _items("a")

    assert _attributor(b"t" * 32).attribute(token, items, visitor_key=KEY, time_ms=NOW_MS) is None
    assert _attributor().attribute("made-up", items, visitor_key=KEY, time_ms=NOW_MS) is None
    assert _attributor().attribute(token, items, visitor_key=KEY, time_ms=NOW_MS + FRESH_MS + 1) is None
    assert _attributor().attribute(token, items, visitor_key=b"o" * 16, time_ms=NOW_MS) is None
    assert _attributor().attribute(token, items, visitor_key=KEY, time_ms=NOW_MS + FRESH_MS) is not None


def test_a_placement_nobody_knows_any_more_is_told_as_other() -> None:
    found = _attributor().attribute(_token(["a"], placement="gone"), _items("a"), visitor_key=KEY, time_ms=NOW_MS)

    assert found is not None
    assert found.placement == OTHER
