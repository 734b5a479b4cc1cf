"""A snapshot survives the disk or is refused by name."""

from pathlib import Path

import numpy as np
import pytest

from recommender.errors import SnapshotRefusedError
from recommender.model_parameters import ModelParameters
from recommender.models.ials import IalsParameters
from recommender.snapshot import (
    Snapshot,
    SnapshotMeta,
    newest_snapshot,
    prune_snapshots,
    read_snapshot,
    snapshot_paths,
    write_snapshot,
)


def _snapshot(version: str = "20260101T000000.000Z", checkpoint: int = 0) -> Snapshot:
    meta = SnapshotMeta(
        version=version,
        checkpoint=checkpoint,
        made_at_ms=1_700_000_000_000,
        events_log_id=1 << 62,
        events_positions={0: "0000000000000001-00000002-00000003"},
        model_log_id=7,
        model_position=None,
        sequence=12,
        parameters=ModelParameters(ials=IalsParameters(factors=16)),
    )
    arrays = {
        "ials.vectors": np.arange(32, dtype=np.float32).reshape(2, 16),
        "visitors.keys": np.arange(16, dtype=np.uint8).reshape(1, 16),
        "empty.rows": np.empty((0, 3), np.int32),
    }
    return Snapshot(meta, ("a", "ünï"), arrays)


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    written = _snapshot()

    found = read_snapshot(write_snapshot(tmp_path, written))

    assert found.meta == written.meta
    assert found.item_ids == written.item_ids
    assert found.arrays.keys() == written.arrays.keys()
    for name, array in written.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def test_leaves_blocks_out_on_request(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, _snapshot())

    found = read_snapshot(path, without=("visitors",))

    assert set(found.arrays) == {"ials.vectors", "empty.rows"}


@pytest.mark.parametrize("length_bytes", [0, 10, 40, 200, -1])
def test_refuses_a_truncated_file_by_name(tmp_path: Path, length_bytes: int) -> None:
    path = write_snapshot(tmp_path, _snapshot())
    path.write_bytes(path.read_bytes()[:length_bytes])

    with pytest.raises(SnapshotRefusedError, match=path.name):
        read_snapshot(path)


def test_refuses_any_altered_byte_by_name(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, _snapshot())
    good = path.read_bytes()

    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(SnapshotRefusedError, match=path.name):
            read_snapshot(path)


def test_serves_the_last_good_one_when_the_newest_is_altered(tmp_path: Path) -> None:
    write_snapshot(tmp_path, _snapshot(checkpoint=1))
    newest = write_snapshot(tmp_path, _snapshot(checkpoint=2))
    newest.write_bytes(newest.read_bytes()[:-5])

    found = newest_snapshot(tmp_path)

    assert found is not None
    assert found.meta.checkpoint == 1


def test_finds_none_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert newest_snapshot(tmp_path / "missing") is None


def test_a_later_version_is_newer_than_any_checkpoint_of_an_earlier_one(tmp_path: Path) -> None:
    write_snapshot(tmp_path, _snapshot("20260101T000000.000Z", checkpoint=99))
    later = write_snapshot(tmp_path, _snapshot("20260101T000000.001Z"))

    assert next(snapshot_paths(tmp_path)) == later


def test_pruning_keeps_the_newest_and_sweeps_up_what_was_left_aside(tmp_path: Path) -> None:
    paths = [write_snapshot(tmp_path, _snapshot(checkpoint=number)) for number in range(4)]
    (tmp_path / "half.aside").write_bytes(b"x")

    prune_snapshots(tmp_path, keep=2)

    assert sorted(tmp_path.iterdir()) == paths[2:]


def test_pruning_keeps_the_newest_file_of_older_versions_and_of_the_one_that_is_chosen(tmp_path: Path) -> None:
    versions = [f"2026010{day}T000000.000Z" for day in range(1, 7)]
    paths = {version: [write_snapshot(tmp_path, _snapshot(version, at)) for at in (0, 1)] for version in versions}

    prune_snapshots(tmp_path, keep=3, versions=3, spare=versions[0])

    wanted = [paths[versions[0]][1], paths[versions[3]][1], paths[versions[4]][1], *paths[versions[5]]]
    assert sorted(tmp_path.iterdir()) == wanted
