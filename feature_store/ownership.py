"""Whose a browser's events are: told from who was identified on it, and when."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.identity_record import NOBODY, Identities

Times = NDArray[np.int64]


class Ownership(NamedTuple):
    """The stretches of a browser's time and whose each is.

    An event belongs to the user identified last before it; where nobody had been, or they had logged out, to the one
    identified next; where nobody was since, to nobody: it is the browser's alone.

    Attributes:
        from_ms: shape (n,), where a stretch begins; the first one, before all of these, has no beginning.
        owners: n + 1 user keys; `NOBODY` for a stretch that is no user's, None for one whose user is forgotten.
    """

    from_ms: Times
    owners: tuple[bytes | None, ...]

    def owner_at(self, time_ms: int) -> bytes | None:
        """Whose an event of that time is."""
        return self.owners[int(np.searchsorted(self.from_ms, time_ms, side="right"))]

    def owned_by(self, user: bytes, time_ms: Times) -> NDArray[np.bool_]:
        """Which events of times `time_ms`, shape (m,), are the user's (or nobody's, of `NOBODY`)."""
        mine = np.array([owner == user for owner in self.owners])
        return mine[np.searchsorted(self.from_ms, time_ms, side="right")]

    @property
    def current(self) -> bytes | None:
        """Whose the newest events are."""
        return self.owners[-1]

    @property
    def users(self) -> frozenset[bytes | None]:
        """Everyone who has a stretch."""
        return frozenset(self.owners)


def ownership_of(known: Identities) -> Ownership:
    """The stretches of a browser's time; `known` is the browser's, with at least one identification."""
    points = sorted({point for i in known.identifies for point in ((i.first_ms, i.user), (i.last_ms, i.user))})
    owners: list[bytes | None] = [user for _, user in points]
    # Backwards: a stretch after a logout is the next user's.
    for i in range(len(owners) - 2, -1, -1):
        if owners[i] == NOBODY:
            owners[i] = owners[i + 1]
    return Ownership(np.array([at_ms for at_ms, _ in points], np.int64), (_first_owner(known, owners[0]), *owners))


def _first_owner(known: Identities, next_owner: bytes | None) -> bytes | None:
    """Whose what lies before the oldest identification kept is."""
    if not known.let_go:
        return next_owner
    return min(known.let_go) if len(known.let_go) == 1 else None
