"""Which of the archive's files count, and which small ones are merged when."""

from pathlib import Path

import pytest

from ingest.archive_compaction import due_merges
from ingest.archive_files import ArchiveFile, file_name, hour_folder, list_archive
from ingest.archive_folder import FolderPlace
from ingest.archive_place import ArchivePlace, open_place
from ingest.bus.contract import Position
from ingest.errors import ArchiveError
from ingest.settings import ArchiveSettings

HOUR_MS = 3_600_000
NINE_MS = 1_784_019_600_000
"""2026-07-14 09:00 UTC."""


def at(number: int) -> Position:
    return Position(number, 0, 0)


def small(first: int, *, partition: int = 0, accepted_at_ms: int = NINE_MS, size_bytes: int = 10) -> ArchiveFile:
    name = file_name(f"_recent/{hour_folder(accepted_at_ms)}", partition, at(first))
    return ArchiveFile(partition, at(first), name, size_bytes, since_ms=accepted_at_ms)


def merges(files: list[ArchiveFile], *, now_ms: int, settings: ArchiveSettings | None = None) -> list[list[int]]:
    due = due_merges(files, settings or ArchiveSettings(), now_ms=now_ms)
    return [[file.first.major for file in merge] for merge in due]


def put(place: FolderPlace, name: str) -> None:
    aside = place.aside(name)
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(b"rows")
    assert place.put_new(aside, name)


def test_the_newest_hour_waits_until_it_is_over() -> None:
    files = [small(1), small(2)]

    assert merges(files, now_ms=NINE_MS + HOUR_MS - 1_000) == []
    assert merges(files, now_ms=NINE_MS + HOUR_MS + 60_000) == [[1, 2]]


def test_an_hour_that_another_follows_is_merged_at_once() -> None:
    files = [small(1), small(2), small(3, accepted_at_ms=NINE_MS + HOUR_MS)]

    assert merges(files, now_ms=NINE_MS + HOUR_MS + 1_000) == [[1, 2]]


def test_many_bytes_are_merged_before_the_hour_is_over_and_in_parts() -> None:
    files = [small(first, size_bytes=40) for first in range(1, 6)]

    assert merges(files, now_ms=NINE_MS, settings=ArchiveSettings(compact_bytes=80)) == [[1, 2], [3, 4]]


def test_a_small_file_waits_no_longer_than_it_may() -> None:
    settings = ArchiveSettings(compact_wait_ms=60_000)

    assert merges([small(1), small(2)], now_ms=NINE_MS + 60_000, settings=settings) == [[1, 2]]


def test_partitions_are_merged_apart() -> None:
    files = [small(1), small(9), small(2, partition=1)]

    assert merges(files, now_ms=NINE_MS + 2 * HOUR_MS) == [[1, 9], [2]]


def test_small_files_that_the_lake_reaches_past_do_not_count(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for first in (1, 5, 9):
        put(place, file_name(f"_recent/{hour_folder(NINE_MS)}", 0, at(first)))
    put(place, file_name(hour_folder(NINE_MS), 0, at(1)))
    put(place, file_name(f"_recent/{hour_folder(NINE_MS)}", 1, at(1)))

    listing = list_archive(place, _ends_at(7))

    assert [file.first.major for file in listing.covered] == [1, 5]
    assert [(file.partition, file.first.major, file.recent) for file in listing.files] == [
        (0, 1, False),
        (0, 9, True),
        (1, 1, True),
    ]


def _ends_at(number: int):  # type: ignore[no-untyped-def]
    def last_of(_place: ArchivePlace, _file: ArchiveFile) -> Position:
        return at(number)

    return last_of


def test_a_name_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, f"{hour_folder(NINE_MS)}/p3-{at(4)}-{at(8)}.parquet")

    [file] = list_archive(place, _ends_at(8)).files

    assert (file.partition, file.first) == (3, at(4))


def test_a_strange_file_is_named(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, f"{hour_folder(NINE_MS)}/export.parquet")

    with pytest.raises(ArchiveError, match=r"export\.parquet is named like no file of the archive"):
        list_archive(place, _ends_at(8))


def test_a_name_is_given_once(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    put(place, "date=2026-07-14/hour=09/p0.parquet")
    aside = place.aside("other")
    aside.write_bytes(b"other rows")

    assert not place.put_new(aside, "date=2026-07-14/hour=09/p0.parquet")
    assert place.read("date=2026-07-14/hour=09/p0.parquet") == b"rows"
    assert not aside.exists()


def test_files_are_listed_from_a_name_on_and_never_what_lies_aside(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for name in ("_log.json", "_recent/date=1/a", "date=1/hour=1/a", "date=1/hour=1/b", "date=2/hour=0/a"):
        put(place, name)
    place.aside("x").write_bytes(b"half")

    assert [file.name for file in place.files(after="date=1/hour=1/a")] == ["date=1/hour=1/b", "date=2/hour=0/a"]
    assert [file.name for file in place.files("_recent")] == ["_recent/date=1/a"]
    assert len(place.files()) == 5


def test_an_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(ArchiveError, match="ftp://"):
        open_place("ftp://host/clicks")
