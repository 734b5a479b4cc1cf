"""The memory for repeats stays small, however long the log."""

import numpy as np

from ingest.seen_ids import SeenIds, id_hash


def test_no_more_is_remembered_than_can_matter() -> None:
    memory = SeenIds(window_ms=10**9, ids_max=1_000, clock_slack_ms=0, recent_min=64)

    for start in range(0, 50_000, 50):
        memory.admit(list(range(start, start + 50)), accepted_at_ms=0)

    assert 1_000 <= len(memory) <= 1_000 + 2 * 64


def test_what_is_older_than_the_window_is_forgotten() -> None:
    memory = SeenIds(window_ms=100, ids_max=10**6, clock_slack_ms=10, recent_min=64)

    for start in range(0, 50_000, 50):
        memory.admit(list(range(start, start + 50)), accepted_at_ms=start)

    assert len(memory) <= 3 * 64 + 200


def test_a_repeat_is_known_up_to_the_last_millisecond_of_the_window() -> None:
    memory = SeenIds(window_ms=100, ids_max=10, clock_slack_ms=0)

    verdicts = [memory.admit([7], accepted_at_ms=at) for at in (0, 100, 200, 301)]

    assert verdicts == [[False], [True], [True], [False]]


def test_the_hash_is_the_same_in_every_process() -> None:
    assert id_hash("0f6c8f1f-2f10-4c39-9a37-7d0c9f6e2a53") == 4_195_990_478_043_821_965
    assert 0 <= id_hash("") < 2**64
    assert np.uint64(id_hash("x")) == id_hash("x")
