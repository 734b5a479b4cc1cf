"""The fold of the log: the same changes in the same order give the same documents, versions and refusals everywhere."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from recommender.merchandising.changes import NOTHING, Applied, Change, Outcome, is_nothing

VERSIONS_KEPT = 100
"""Per document, in memory, for undo and audit; the log has all of them."""
AUDIT_KEPT = 10_000
"""Newest changes of all documents in memory; older ones drop out of the audit's answer, never out of the log."""


class KindOf(msgspec.Struct, frozen=True):
    """One kind of document.

    `decode`: from JSON to a checked struct; raises msgspec.DecodeError or ValueError.
    `id_of`: the document's own id, when it has one.
    """

    name: str
    decode: Callable[[bytes], Any]
    id_of: Callable[[Any], str] | None = None


class Document(msgspec.Struct, frozen=True):
    """One document as it stands. `body`: decoded, None when it was deleted; `raw`: its JSON, or `NOTHING`."""

    kind: str
    id: str
    version: int
    who: str
    at_ms: int
    body: Any
    raw: msgspec.Raw

    @property
    def there(self) -> bool:
        """Was it not deleted?"""
        return not is_nothing(self.raw)


class Ledger:
    """Documents by kind and id. Pure: no clock, no bus."""

    def __init__(self, kinds: Sequence[KindOf]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._documents: dict[tuple[str, str], Document] = {}
        self._versions: dict[tuple[str, str], deque[Applied]] = {}
        self._audit: deque[Applied] = deque(maxlen=AUDIT_KEPT)
        self._revisions: dict[str, int] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds there may be."""
        return tuple(self._kinds)

    def apply(self, change: Change) -> Outcome:
        """Fold one change in."""
        at = (change.kind, change.id)
        current = self._documents.get(at)
        version = current.version if current is not None else 0
        kind = self._kinds.get(change.kind)
        if kind is None:
            return Outcome(change.change_id, "refused", version, f"wanted a kind of {', '.join(self._kinds)}")
        if change.edits != version:
            reason = f"it was made on version {change.edits}; the current one is {version}"
            return Outcome(change.change_id, "stale", version, reason)
        if change.deletes and (current is None or not current.there):
            return Outcome(change.change_id, "refused", version, "there is nothing to delete")
        try:
            body = None if change.deletes else _decoded(kind, change)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return Outcome(change.change_id, "refused", version, str(error)[:500])
        self._take(change, current, body)
        return Outcome(change.change_id, "applied", version + 1)

    def revision(self, kind: str) -> int:
        """How many changes of that kind were applied: a version of all its documents together."""
        return self._revisions.get(kind, 0)

    def get(self, kind: str, document_id: str) -> Document | None:
        """The document as it stands, a deleted one too (its `body` is None); None where there never was one."""
        return self._documents.get((kind, document_id))

    def documents(self, kind: str) -> Iterator[Document]:
        """All that are there now, by id."""
        found = [document for (of, _), document in self._documents.items() if of == kind and document.there]
        return iter(sorted(found, key=lambda document: document.id))

    def history(self, kind: str, document_id: str) -> tuple[Applied, ...]:
        """The document's newest changes, newest first; at most `VERSIONS_KEPT`."""
        return tuple(reversed(self._versions.get((kind, document_id), ())))

    def audit(self) -> tuple[Applied, ...]:
        """The newest changes of all documents, newest first; at most `AUDIT_KEPT`."""
        return tuple(reversed(self._audit))

    def body_of(self, kind: str, document_id: str, version: int) -> msgspec.Raw:
        """The document's JSON in an earlier version; `NOTHING` where it was deleted then.

        Raises:
            KeyError: a version that never was, or too old to be kept in memory.
        """
        if version == 0:
            return NOTHING
        for applied in self._versions.get((kind, document_id), ()):
            if applied.version == version:
                return applied.after
        raise KeyError(version)

    def clear(self) -> None:
        """Forget everything: the log it came from is gone."""
        self._documents.clear()
        self._versions.clear()
        self._audit.clear()
        self._revisions.clear()

    def _take(self, change: Change, current: Document | None, body: Any) -> None:
        at = (change.kind, change.id)
        version = (current.version if current is not None else 0) + 1
        before = current.raw if current is not None else NOTHING
        # A copy: a Raw may be a view of the whole entry it came in.
        after = change.body.copy()
        self._documents[at] = Document(change.kind, change.id, version, change.who, change.at_ms, body, after)
        applied = Applied(change.kind, change.id, version, change.who, change.at_ms, before, after, change.restores)
        self._versions.setdefault(at, deque(maxlen=VERSIONS_KEPT)).append(applied)
        self._audit.append(applied)
        self._revisions[change.kind] = self.revision(change.kind) + 1


def _decoded(kind: KindOf, change: Change) -> Any:
    body = kind.decode(bytes(change.body))
    if kind.id_of is not None and kind.id_of(body) != change.id:
        raise ValueError(f"wanted a {kind.name} that calls itself {change.id}; got one called {kind.id_of(body)}")
    return body
