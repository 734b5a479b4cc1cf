"""Who belongs to whom: any order and any repetition of what was identified comes to the same."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_store.identity_record import (
    BROWSER,
    BROWSERS_MAX,
    IDENTIFIED,
    NO_IDENTITIES,
    NOBODY,
    Identities,
    apply_to_identities,
    read_identities,
    split_key,
    with_browser,
    with_identify,
)
from feature_store.layouts import HOUR_MS
from feature_store.ownership import ownership_of
from feature_store.touches import TOUCH_COLUMNS, Touches

START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
USERS = [NOBODY, *(bytes([n]) * 16 for n in (1, 0x7F, 0xFF))]
ANYTIME = st.integers(0, 30 * HOUR_MS).map(lambda ms: START_MS + ms)
IDENTIFIES = st.lists(st.tuples(ANYTIME, st.sampled_from(USERS)), min_size=1, max_size=30)
BROWSERS = st.lists(st.tuples(ANYTIME, st.integers(0, 25).map(lambda n: n.to_bytes(16, "big"))), max_size=60)


def touches_of(kind: int, changes: list[tuple[int, bytes]], first: int = 0) -> Touches:
    rows = [(0, 1, first + i, at_ms, kind, *split_key(other), 0, 0) for i, (at_ms, other) in enumerate(changes)]
    return np.array(rows, np.int64).reshape(-1, TOUCH_COLUMNS)


@given(IDENTIFIES, st.randoms(use_true_random=False))
def test_a_browsers_users_do_not_depend_on_order_or_repetition(
    identified: list[tuple[int, bytes]], random: np.random.Generator
) -> None:
    shuffled = identified + identified[: len(identified) // 2]
    random.shuffle(shuffled)  # type: ignore[arg-type]

    assert folded(with_identify, shuffled) == folded(with_identify, identified)


@given(BROWSERS, st.randoms(use_true_random=False))
def test_a_users_browsers_do_not_depend_on_order_or_repetition(
    linked: list[tuple[int, bytes]], random: np.random.Generator
) -> None:
    shuffled = linked + linked[: len(linked) // 2]
    random.shuffle(shuffled)  # type: ignore[arg-type]

    once = folded(with_browser, linked)

    assert folded(with_browser, shuffled) == once
    assert len(once.browsers) == min(BROWSERS_MAX, len({key for _, key in linked}))


@given(IDENTIFIES, BROWSERS, st.integers(0, 30))
def test_a_record_is_a_function_of_its_log(
    identified: list[tuple[int, bytes]], linked: list[tuple[int, bytes]], cut: int
) -> None:
    touches = np.concatenate([touches_of(IDENTIFIED, identified), touches_of(BROWSER, linked, len(identified))])

    [at_once] = apply_to_identities([None], touches, log_id=7)
    [first] = apply_to_identities([None], touches[:cut], log_id=7)
    [rest] = apply_to_identities([first], touches, log_id=7)
    [again] = apply_to_identities([at_once], touches, log_id=7)

    assert (rest or first) == at_once
    assert again is None
    expected = folded(with_browser, linked, folded(with_identify, identified))
    assert read_identities(at_once) == expected


@given(IDENTIFIES.filter(lambda found: len(found) <= 8), st.lists(ANYTIME, max_size=20))
def test_an_event_belongs_to_whom_a_walk_through_the_identifications_finds(
    identified: list[tuple[int, bytes]], times: list[int]
) -> None:
    # Within an hour a user's identifications are told by the first and the last: one each, to compare them all.
    one_each = {(at_ms // HOUR_MS, user): (at_ms, user) for at_ms, user in identified}
    points = sorted(one_each.values())
    ownership = ownership_of(folded(with_identify, points))

    for time_ms in times:
        assert ownership.owner_at(time_ms) == walked(points, time_ms)
    everyone = sum(ownership.owned_by(user, np.array(times, np.int64)).sum() for user in USERS)
    assert everyone == len(times)


def walked(points: list[tuple[int, bytes]], time_ms: int) -> bytes:
    before = [user for at_ms, user in points if at_ms <= time_ms]
    if before and before[-1] != NOBODY:
        return before[-1]
    after = [user for at_ms, user in points if at_ms > time_ms and user != NOBODY]
    return after[0] if after else NOBODY


def folded(change: object, changes: list[tuple[int, bytes]], known: Identities = NO_IDENTITIES) -> Identities:
    for at_ms, other in changes:
        known = change(known, at_ms, other)  # type: ignore[operator]
    return known
