"""Which model is to be served: the newest, or an older version that somebody has chosen; a file beside the snapshots.

Replicas look at it once a second and change over between two requests; nothing is restarted. A chosen version stands
still unless it is the learner's present one. The learner goes on learning and writing meanwhile.
"""

from pathlib import Path
from typing import NamedTuple

from recommender.errors import SnapshotRefusedError
from recommender.snapshot import SnapshotMeta, newest_snapshot, read_meta, snapshot_paths, version_of

FILE = "serve"
NEWEST = "newest"


class VersionKept(NamedTuple):
    """A version that can be served. `size_bytes`: of its newest file; `refused`: why that cannot be trusted, if so."""

    version: str
    meta: SnapshotMeta | None
    size_bytes: int
    refused: str | None


def read_choice(folder: Path) -> str | None:
    """The version chosen; None: the newest."""
    try:
        chosen = (folder / FILE).read_text().strip()
    except OSError:
        return None
    return chosen if chosen and chosen != NEWEST else None


def choose(folder: Path, version: str) -> str:
    """From now on replicas serve `version` (an unambiguous beginning is enough) or, by `newest`, what the learner has.

    Its newest file is read and checked first, so that nothing broken is ever chosen. Returns the whole version.

    Raises:
        SnapshotRefusedError: no such version, several, or none of its files can be trusted.
    """
    if version == NEWEST:
        (folder / FILE).unlink(missing_ok=True)
        return NEWEST
    kept = [each.version for each in kept_versions(folder)]
    found = [each for each in kept if each.startswith(version)]
    if len(found) != 1:
        raise SnapshotRefusedError(
            f"model {version}: wanted one version of {', '.join(kept) or 'none kept'}; got {len(found)}; "
            "see `afterclick model list`"
        )
    if newest_snapshot(folder, version=found[0]) is None:
        raise SnapshotRefusedError(
            f"model {found[0]}: wanted a file of it that can be trusted; got none; choose another"
        )
    aside = folder / f"{FILE}.aside"
    aside.write_text(found[0] + "\n")
    aside.replace(folder / FILE)
    return found[0]


def kept_versions(folder: Path) -> list[VersionKept]:
    """Every version of which a file is there, newest first; only headers are read."""
    kept: dict[str, VersionKept] = {}
    for path in snapshot_paths(folder):
        version = version_of(path)
        if version in kept and kept[version].refused is None:
            continue
        size_bytes = path.stat().st_size
        try:
            kept[version] = VersionKept(version, read_meta(path), size_bytes, None)
        except SnapshotRefusedError as error:
            kept.setdefault(version, VersionKept(version, None, size_bytes, str(error)))
    return list(kept.values())
