"""Changes of rules, placements and experiments: made on a version, answered once our own replica has folded them."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from api.errors import ConflictError, InvalidParameterError, NotFoundError, UnavailableError
from ingest.errors import BusError
from recommender.merchandising import Applied, Change, Document, MerchandisingLog, Outcome
from recommender.merchandising.changes import BODY_BYTES_MAX, NOTHING, DocumentId

_FOLD_S_MAX = 2.0
IMPORT_MAX = 1_000

Who = Annotated[str, msgspec.Meta(max_length=128)]


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document as it shall be. `edits`: the version looked at, 0 for a new one; `who`: for the audit."""

    id: DocumentId
    document: msgspec.Raw
    edits: Annotated[int, msgspec.Meta(ge=0)] = 0
    who: Who = ""


class Undo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take back what was changed. `to`: the version to go back to; None: the one before the current."""

    edits: Annotated[int, msgspec.Meta(ge=1)]
    to: Annotated[int, msgspec.Meta(ge=0)] | None = None
    who: Who = ""


class DocumentView(msgspec.Struct, frozen=True):
    """A document as it stands; `document` is null when it was deleted."""

    id: str
    version: int
    who: str
    at_ms: int
    document: msgspec.Raw


class DocumentList(msgspec.Struct, frozen=True):
    """All documents of one kind, by id."""

    documents: tuple[DocumentView, ...]


class Audit(msgspec.Struct, frozen=True):
    """Who changed what, when, from what to what; newest first."""

    changes: tuple[Applied, ...]


class MerchandisingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the merchandiser decided, as a file for git: documents by id, by kind."""

    rules: dict[DocumentId, msgspec.Raw] = {}
    placements: dict[DocumentId, msgspec.Raw] = {}
    experiments: dict[DocumentId, msgspec.Raw] = {}


class ImportAnswer(msgspec.Struct, frozen=True):
    """What an import came to, one entry for each document that differed."""

    unchanged: int
    outcomes: tuple[Outcome, ...]


class Merchandising:
    """The HTTP-free half of the endpoints."""

    def __init__(self, log: MerchandisingLog, *, retry_after_s: int, clock: Callable[[], int] | None = None) -> None:
        self._log = log
        self._retry_after_s = retry_after_s
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of documents there are."""
        return self._log.ledger.kinds

    def all(self, kind: str) -> DocumentList:
        """Every document of a kind."""
        return DocumentList(tuple(_view(document) for document in self._log.ledger.documents(kind)))

    def get(self, kind: str, document_id: str) -> DocumentView:
        """One document; a deleted one too, since its version is needed to make it anew.

        Raises:
            NotFoundError: there never was one.
        """
        return _view(self._known(kind, document_id))

    def history(self, kind: str, document_id: str) -> Audit:
        """The changes of one document.

        Raises:
            NotFoundError: there never was one.
        """
        self._known(kind, document_id)
        return Audit(self._log.ledger.history(kind, document_id))

    def audit(self) -> Audit:
        """The newest changes of all."""
        return Audit(self._log.ledger.audit())

    async def put(self, kind: str, edit: Edit) -> DocumentView:
        """Make or replace one document.

        Raises:
            ConflictError: it was edited on another version than the current one.
            InvalidParameterError: no such document; says what was wanted.
            UnavailableError: the bus did not take it, or this replica has not folded it in time.
        """
        return await self._change(kind, edit.id, edit.edits, edit.who, edit.document)

    async def remove(self, kind: str, document_id: str, *, edits: int, who: str) -> DocumentView:
        """Delete one document; raises as `put`."""
        self._known(kind, document_id)
        return await self._change(kind, document_id, edits, who, NOTHING)

    async def undo(self, kind: str, document_id: str, undo: Undo) -> DocumentView:
        """Go back to an earlier version, as a new entry of the log; raises as `put`."""
        self._known(kind, document_id)
        to = undo.to if undo.to is not None else undo.edits - 1
        try:
            body = self._log.ledger.body_of(kind, document_id, to)
        except KeyError:
            raise InvalidParameterError(
                "unknown_version",
                wanted=f"a version of {kind} {document_id} in its history",
                got=str(to),
                next_step=f"look at GET /v1/{kind}s/{document_id}/history",
            ) from None
        return await self._change(kind, document_id, undo.edits, undo.who, body, restores=to)

    def export(self) -> MerchandisingFile:
        """Everything there is now."""
        return MerchandisingFile(**{f"{kind}s": self._bodies(kind) for kind in self.kinds})

    async def import_file(self, file: MerchandisingFile, *, who: str) -> ImportAnswer:
        """Make everything as the file has it: what is missing in it is deleted, what is alike is left alone.

        Raises:
            InvalidParameterError: more documents than one import may change.
            UnavailableError: the bus did not take all of it; an import may be repeated.
        """
        changes, unchanged = [], 0
        for kind in self.kinds:
            wanted: dict[str, msgspec.Raw] = getattr(file, f"{kind}s")
            there = {document.id: document for document in self._log.ledger.documents(kind)}
            for document_id in sorted(wanted.keys() | there.keys()):
                body = wanted.get(document_id, NOTHING)
                if document_id in there and _alike(body, there[document_id].raw):
                    unchanged += 1
                    continue
                changes.append(self._made(kind, document_id, self._version(kind, document_id), who, body, None))
        if len(changes) > IMPORT_MAX:
            raise InvalidParameterError(
                "too_many_changes",
                wanted=f"at most {IMPORT_MAX} documents that differ",
                got=str(len(changes)),
                next_step="import the file in parts",
            )
        return ImportAnswer(unchanged, tuple(await self._submit(changes)) if changes else ())

    async def _change(
        self,
        kind: str,
        document_id: str,
        edits: int,
        who: str,
        body: msgspec.Raw,
        restores: int | None = None,
    ) -> DocumentView:
        if len(bytes(body)) > BODY_BYTES_MAX:
            raise InvalidParameterError(
                "document_too_large",
                wanted=f"a {kind} of at most {BODY_BYTES_MAX} bytes",
                got=f"{len(bytes(body))} bytes",
                next_step="split it",
            )
        outcome = (await self._submit([self._made(kind, document_id, edits, who, body, restores)]))[0]
        if outcome.status == "stale":
            raise ConflictError(
                "stale_version",
                wanted=f"`edits` {outcome.version}, the current version of {kind} {document_id}",
                got=str(edits),
                next_step="get it again, look at what changed, and send your change on that version",
            )
        if outcome.status == "refused":
            raise InvalidParameterError(
                f"{kind}_refused", wanted=f"a {kind}", got=outcome.reason, next_step="mend it and send it again"
            )
        return self.get(kind, document_id)

    def _made(
        self,
        kind: str,
        document_id: str,
        edits: int,
        who: str,
        body: msgspec.Raw,
        restores: int | None,
    ) -> Change:
        return Change(secrets.token_hex(12), kind, document_id, edits, who, self._clock(), body, restores)

    async def _submit(self, changes: Sequence[Change]) -> list[Outcome]:
        try:
            return await self._log.submit(changes, within_s=_FOLD_S_MAX)
        except (BusError, TimeoutError) as error:
            raise UnavailableError(
                "bus_unavailable",
                wanted="a bus that takes changes durably",
                got=str(error) or f"no word of it within {_FOLD_S_MAX:g} s",
                next_step="get the document, see whether your change is there, and send it again if not",
                retry_after_s=self._retry_after_s,
            ) from error

    def _known(self, kind: str, document_id: str) -> Document:
        document = self._log.ledger.get(kind, document_id)
        if document is None:
            raise NotFoundError(
                f"unknown_{kind}",
                wanted=f"the id of a {kind}",
                got=document_id[:64],
                next_step=f"look at GET /v1/{kind}s for those there are",
            )
        return document

    def _version(self, kind: str, document_id: str) -> int:
        document = self._log.ledger.get(kind, document_id)
        return document.version if document is not None else 0

    def _bodies(self, kind: str) -> dict[str, Any]:
        return {document.id: document.raw for document in self._log.ledger.documents(kind)}


def _view(document: Document) -> DocumentView:
    return DocumentView(document.id, document.version, document.who, document.at_ms, document.raw)


def _alike(body: msgspec.Raw, raw: msgspec.Raw) -> bool:
    return bool(msgspec.json.decode(body) == msgspec.json.decode(raw))
