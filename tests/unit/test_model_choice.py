"""Which version is served: listed, chosen, refused by name, and let go again."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from afterclick.__main__ import app
from recommender.errors import SnapshotRefusedError
from recommender.live_model import LiveModel
from recommender.model_choice import choose, kept_versions, read_choice
from recommender.model_parameters import ModelParameters
from recommender.snapshot import Snapshot, SnapshotMeta, write_snapshot

OLDER, NEWER = "20260101T000000.000Z", "20260102T000000.000Z"


def _write(folder: Path, version: str, checkpoint: int = 0) -> Path:
    model = LiveModel(version, ModelParameters())
    meta = SnapshotMeta(
        version,
        checkpoint,
        1_767_225_600_000,
        1,
        {},
        2,
        None,
        items=3,
        events=1_234,
        metrics={"hr@20": 0.41, "targets": 500.0},
    )
    return write_snapshot(folder, Snapshot(meta, (), model.arrays()))


def test_the_newest_is_served_until_another_is_chosen_and_again_afterwards(tmp_path: Path) -> None:
    _write(tmp_path, OLDER)
    _write(tmp_path, NEWER)

    assert read_choice(tmp_path) is None
    assert choose(tmp_path, "20260101") == OLDER
    assert read_choice(tmp_path) == OLDER
    assert choose(tmp_path, "newest") == "newest"
    assert read_choice(tmp_path) is None


@pytest.mark.parametrize(("version", "told"), [("20260103", "got 0"), ("2026", "got 2")])
def test_a_version_that_is_none_or_several_is_refused(tmp_path: Path, version: str, told: str) -> None:
    _write(tmp_path, OLDER)
    _write(tmp_path, NEWER)

    with pytest.raises(SnapshotRefusedError, match=told):
        choose(tmp_path, version)

    assert read_choice(tmp_path) is None


@pytest.mark.parametrize("harm", [lambda raw: raw[:-3], lambda raw: raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:]])
def test_a_truncated_or_altered_version_is_never_chosen(tmp_path: Path, harm) -> None:  # type: ignore[no-untyped-def]
    path = _write(tmp_path, OLDER)
    _write(tmp_path, NEWER)
    path.write_bytes(harm(path.read_bytes()))

    with pytest.raises(SnapshotRefusedError, match=OLDER):
        choose(tmp_path, OLDER)

    assert read_choice(tmp_path) is None


def test_an_older_checkpoint_stands_in_for_a_broken_newer_one(tmp_path: Path) -> None:
    _write(tmp_path, OLDER)
    path = _write(tmp_path, OLDER, checkpoint=1)
    path.write_bytes(path.read_bytes()[:20])

    assert choose(tmp_path, OLDER) == OLDER
    (kept,) = kept_versions(tmp_path)
    assert kept.meta is not None
    assert kept.meta.checkpoint == 0


def test_the_list_says_what_each_version_knew_and_what_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    broken = _write(folder, OLDER)
    _write(folder, NEWER)
    broken.write_bytes(b"nothing of the kind")

    result = CliRunner().invoke(app, ["model", "list", "--data-dir", str(tmp_path)])

    assert result.exit_code == 0, result.output
    assert "0.410 of 500" in result.output
    assert "serves" in result.output
    assert "refused" in result.output


def test_one_command_serves_an_older_version(tmp_path: Path) -> None:
    _write(tmp_path / "model", OLDER)
    _write(tmp_path / "model", NEWER)

    served = CliRunner().invoke(app, ["model", "serve", OLDER, "--data-dir", str(tmp_path)])
    refused = CliRunner().invoke(app, ["model", "serve", "2031", "--data-dir", str(tmp_path)])

    assert (served.exit_code, refused.exit_code) == (0, 2)
    assert read_choice(tmp_path / "model") == OLDER
