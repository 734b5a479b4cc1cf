"""What survives deduplication is a function of the log, wherever reading begins."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.seen_ids import SeenIds

WINDOW_MS, IDS_MAX, SLACK_MS = 100, 12, 10


class Pack(msgspec.Struct, frozen=True):
    accepted_at_ms: int
    ids: list[int | None]


@st.composite
def logs(draw: st.DrawFn) -> list[Pack]:
    """Packs whose times mostly advance, and step back by at most the slack."""
    now_ms, packs = 1_000, []
    for _ in range(draw(st.integers(1, 30))):
        now_ms += draw(st.integers(0, 60))
        ids = draw(st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=5))
        packs.append(Pack(now_ms - draw(st.integers(0, SLACK_MS // 2)), ids))
    return packs


def repeats_by_definition(packs: list[Pack]) -> list[bool]:
    last: dict[int, tuple[int, int]] = {}
    repeats, entry = [], 0
    for pack in packs:
        for found in pack.ids:
            before = last.get(found) if found is not None else None
            repeats.append(
                before is not None and entry - before[0] <= IDS_MAX and pack.accepted_at_ms - before[1] <= WINDOW_MS
            )
            if found is not None:
                last[found] = (entry, pack.accepted_at_ms)
            entry += 1
    return repeats


def read(packs: list[Pack], memory: SeenIds) -> list[bool]:
    return [repeat for pack in packs for repeat in memory.admit(pack.ids, accepted_at_ms=pack.accepted_at_ms)]


def make_memory(recent_min: int = 3) -> SeenIds:
    """`recent_min` is small, so that short logs are merged too."""
    return SeenIds(window_ms=WINDOW_MS, ids_max=IDS_MAX, clock_slack_ms=SLACK_MS, recent_min=recent_min)


@given(logs(), st.integers(1, 8))
@settings(max_examples=100)
def test_a_repeat_is_what_the_definition_says(packs: list[Pack], recent_min: int) -> None:
    assert read(packs, make_memory(recent_min)) == repeats_by_definition(packs)


@given(logs(), st.data())
@settings(max_examples=100)
def test_a_takeover_at_any_instant_changes_nothing(packs: list[Pack], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(packs)))
    undisturbed = read(packs, make_memory())

    before = read(packs[:cut], make_memory())
    successor = make_memory(recent_min=2)
    if cut < len(packs):
        start_ms = packs[cut].accepted_at_ms - WINDOW_MS - SLACK_MS
        first = next((at for at, pack in enumerate(packs) if pack.accepted_at_ms >= start_ms), cut)
        read(packs[first:cut], successor)

    assert before + read(packs[cut:], successor) == undisturbed


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200))
def test_the_same_pack_again_is_all_repeats(hashes: list[int]) -> None:
    memory = SeenIds(window_ms=WINDOW_MS, ids_max=10_000, clock_slack_ms=0)

    first = memory.admit(hashes, accepted_at_ms=5)

    assert first.count(False) == len(set(hashes))
    assert all(memory.admit(hashes, accepted_at_ms=5 + WINDOW_MS))
