"""Who a browser belonged to, and when; and which browsers are a user's: both survive any order and any repetition.

A browser's record keeps, for each hour in which someone was identified on it and each such user, the first and the last
time: the newest 8 of these, and of older ones whether they were all one user's. A user's record keeps the newest
identification of each browser, the newest 16 of these. Both are functions of the set of what was identified: the
minimum, maximum and "newest n" of a set do not depend on the order in which it came.

Bytes after the 28 of the header (whose last two hold the counts): 28 an hour and user (hour, 4; first and last ms in
it, 4 each; user, 16), then, when some were let go, 17 (1 or 2 users; the one), then 24 a browser (time, 8; key, 16).
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from feature_store.layouts import HOUR_MS
from feature_store.record_header import GUARD_BYTES, HEADER_BYTES, LAYOUT_IDENTITY, VERSION, check_record
from feature_store.touches import AMOUNT, ITEM, KIND, MAJOR, MINOR_INDEX, ROW, TIME_MS, Touches

IDENTIFIES_MAX: Final = 8
BROWSERS_MAX: Final = 16
NOBODY: Final = bytes(16)
"""Stands for the user of a logout."""

IDENTIFIED, BROWSER = 0, 1
"""The `KIND` of a touch: a user is now at this browser, or this browser is now the user's."""

_HOUR = struct.Struct("<III16s")
_LET_GO = struct.Struct("<B16s")
_BROWSER = struct.Struct("<Q16s")
_IDENTIFIES_AT, _BROWSERS_AT = 26, 27
_LET_GO_FLAG = 0x80
_COUNT_MASK = 0x7F


class Identify(NamedTuple):
    """A user (`NOBODY`: a logout) was named on this browser at these two times, perhaps between them, in one hour."""

    first_ms: int
    last_ms: int
    user: bytes


class Identities(NamedTuple):
    """What is known of one key, a browser's or a user's.

    Attributes:
        identifies: of a browser, oldest first, at most 8.
        let_go: users of older ones that are kept no more: none, the one, or two that stand for several.
        browsers: of a user: time of the newest identification and key, oldest first, at most 16.
        browsers_let_go: there were more.
    """

    identifies: tuple[Identify, ...] = ()
    let_go: frozenset[bytes] = frozenset()
    browsers: tuple[tuple[int, bytes], ...] = ()
    browsers_let_go: bool = False


NO_IDENTITIES = Identities()
_SEVERAL = frozenset({NOBODY, b"\xff" * 16})


def split_key(key: bytes) -> tuple[int, int]:
    """16 bytes as the two numbers that a touch has room for (`AMOUNT`, `ITEM`)."""
    return int.from_bytes(key[:8], "big", signed=True), int.from_bytes(key[8:], "big", signed=True)


def read_identities(record: bytes | None) -> Identities:
    """Decode one record; nothing stored is nobody identified.

    Raises:
        RecordFormatError: another version or layout.
    """
    if record is None:
        return NO_IDENTITIES
    check_record(record, layout=LAYOUT_IDENTITY)
    at = HEADER_BYTES
    identifies = []
    for _ in range(record[_IDENTIFIES_AT] & _COUNT_MASK):
        hour, first, last, user = _HOUR.unpack_from(record, at)
        identifies.append(Identify(hour * HOUR_MS + first, hour * HOUR_MS + last, user))
        at += _HOUR.size
    let_go: frozenset[bytes] = frozenset()
    if record[_IDENTIFIES_AT] & _LET_GO_FLAG:
        users, user = _LET_GO.unpack_from(record, at)
        let_go = frozenset({user}) if users == 1 else _SEVERAL
        at += _LET_GO.size
    count = record[_BROWSERS_AT] & _COUNT_MASK
    browsers = tuple(_BROWSER.unpack_from(record, at + i * _BROWSER.size) for i in range(count))
    return Identities(tuple(identifies), let_go, browsers, bool(record[_BROWSERS_AT] & _LET_GO_FLAG))


def apply_to_identities(records: Sequence[bytes | None], touches: Touches, *, log_id: int) -> list[bytes | None]:
    """The records after `touches`, None for those that already had them all.

    Args:
        records: as stored, or None; not modified.
        touches: rows in log order; `AMOUNT` and `ITEM` hold the other key (`split_key`).
        log_id: of the log that the touches come from.
    """
    written: list[bytes | None] = [None] * len(records)
    identities = [read_identities(record) for record in records]
    positions = [(-1, -1) if record is None else _position_of(record) for record in records]
    changed: set[int] = set()
    for touch in touches.tolist():
        row, position = touch[ROW], (touch[MAJOR], touch[MINOR_INDEX])
        if position <= positions[row]:
            continue
        positions[row] = position
        changed.add(row)
        other = b"".join(half.to_bytes(8, "big", signed=True) for half in (touch[AMOUNT], touch[ITEM]))
        change = with_identify if touch[KIND] == IDENTIFIED else with_browser
        identities[row] = change(identities[row], touch[TIME_MS], other)
    for row in changed:
        written[row] = _encoded(identities[row], positions[row], log_id)
    return written


def with_identify(known: Identities, time_ms: int, user: bytes) -> Identities:
    """`known` after `user` (or `NOBODY`) was named on the browser at `time_ms`."""
    by_hour = {(found.first_ms // HOUR_MS, found.user): found for found in known.identifies}
    key = (time_ms // HOUR_MS, user)
    before = by_hour.get(key, Identify(time_ms, time_ms, user))
    by_hour[key] = Identify(min(before.first_ms, time_ms), max(before.last_ms, time_ms), user)
    ordered = [by_hour[key] for key in sorted(by_hour)]
    let_go = known.let_go.union(found.user for found in ordered[:-IDENTIFIES_MAX] if found.user != NOBODY)
    return known._replace(
        identifies=tuple(ordered[-IDENTIFIES_MAX:]), let_go=let_go if len(let_go) < len(_SEVERAL) else _SEVERAL
    )


def with_browser(known: Identities, time_ms: int, browser: bytes) -> Identities:
    """`known` after the user was named on `browser` at `time_ms`."""
    newest = {key: at_ms for at_ms, key in known.browsers}
    newest[browser] = max(newest.get(browser, 0), time_ms)
    ordered = sorted((at_ms, key) for key, at_ms in newest.items())
    return known._replace(
        browsers=tuple(ordered[-BROWSERS_MAX:]),
        browsers_let_go=known.browsers_let_go or len(ordered) > BROWSERS_MAX,
    )


def _position_of(record: bytes) -> tuple[int, int]:
    major, minor_index = struct.unpack_from(">QQ", record)
    return major, minor_index


def _encoded(known: Identities, position: tuple[int, int], log_id: int) -> bytes:
    parts = [struct.pack(">QQQ", *position, log_id)]
    counts = [VERSION, LAYOUT_IDENTITY, len(known.identifies), len(known.browsers)]
    counts[2] |= _LET_GO_FLAG if known.let_go else 0
    counts[3] |= _LET_GO_FLAG if known.browsers_let_go else 0
    parts.append(bytes(counts))
    assert sum(map(len, parts)) == HEADER_BYTES == GUARD_BYTES + len(counts)
    for found in known.identifies:
        hour, first = divmod(found.first_ms, HOUR_MS)
        parts.append(_HOUR.pack(hour, first, found.last_ms - hour * HOUR_MS, found.user))
    if known.let_go:
        parts.append(_LET_GO.pack(len(known.let_go), min(known.let_go)))
    parts += [_BROWSER.pack(at_ms, key) for at_ms, key in known.browsers]
    return b"".join(parts)
