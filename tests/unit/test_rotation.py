"""A list that changes for one who comes back to it."""

from recommender.rotation import Rotation

_NOW_MS = 1_000_000


def test_what_was_just_shown_has_lost_its_rate_and_recovers() -> None:
    rotation = Rotation(visitors_max=10)
    rotation.remember(b"v", ["a", "b"], now_ms=_NOW_MS)

    assert rotation.worn(b"v", now_ms=_NOW_MS, rate=0.8, recovery_ms=1_000).keys() == {"a", "b"}
    half = rotation.worn(b"v", now_ms=_NOW_MS + 500, rate=0.8, recovery_ms=1_000)
    assert {item: round(left, 9) for item, left in half.items()} == {"a": 0.6, "b": 0.6}
    assert rotation.worn(b"v", now_ms=_NOW_MS + 1_000, rate=0.8, recovery_ms=1_000) == {}


def test_nobody_else_is_meant() -> None:
    rotation = Rotation(visitors_max=10)
    rotation.remember(b"v", ["a"], now_ms=_NOW_MS)

    assert rotation.worn(b"w", now_ms=_NOW_MS, rate=1.0, recovery_ms=1_000) == {}


def test_the_visitor_longest_silent_is_forgotten_first() -> None:
    rotation = Rotation(visitors_max=2)
    for visitor in (b"1", b"2", b"1", b"3"):
        rotation.remember(visitor, ["a"], now_ms=_NOW_MS)

    worn = [bool(rotation.worn(v, now_ms=_NOW_MS, rate=1.0, recovery_ms=1_000)) for v in (b"1", b"2", b"3")]
    assert worn == [True, False, True]
