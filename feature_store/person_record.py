"""One person's records as one: a user's own and those of their browsers, of each only what was theirs."""

from collections.abc import Sequence

import numpy as np

from feature_store.identity_record import Identities
from feature_store.ownership import ownership_of
from feature_store.person_reader import Person
from feature_store.visitor_record import EMPTY_VISITOR, EVENTS_MAX, SHOWN_MAX, VisitorRecord, read_visitor


def only_owned(record: VisitorRecord, known: Identities, user: bytes) -> VisitorRecord:
    """What of a browser's `record` is the user's (`NOBODY`: is no user's).

    Nothing of a browser that knows of nobody: a user's record may name it before its own record does, and until both
    agree it is taken for a stranger's.
    """
    if not known.identifies:
        return EMPTY_VISITOR
    ownership = ownership_of(known)
    if ownership.users == {user}:
        return record
    events = ownership.owned_by(user, record.time_ms)
    shown = ownership.owned_by(user, record.shown_time_ms)
    return record._replace(
        time_ms=record.time_ms[events],
        kind=record.kind[events],
        quantity=record.quantity[events],
        item_index=record.item_index[events],
        shown_time_ms=record.shown_time_ms[shown],
        shown_item_index=record.shown_item_index[shown],
    )


def of_one_person(records: Sequence[VisitorRecord]) -> VisitorRecord:
    """The newest events of several records, oldest first; equal for any order of `records` but for ties in time."""
    records = [record for record in records if len(record.time_ms) or len(record.shown_time_ms)]
    if len(records) < 2:
        return records[0] if records else EMPTY_VISITOR
    time_ms = np.concatenate([record.time_ms for record in records])
    shown_time_ms = np.concatenate([record.shown_time_ms for record in records])
    newest = np.argsort(time_ms, kind="stable")[-EVENTS_MAX:]
    shown = np.argsort(shown_time_ms, kind="stable")[-SHOWN_MAX:]
    return VisitorRecord(
        time_ms=time_ms[newest],
        kind=np.concatenate([record.kind for record in records])[newest],
        quantity=np.concatenate([record.quantity for record in records])[newest],
        item_index=np.concatenate([record.item_index for record in records])[newest],
        overflowed=len(time_ms) > EVENTS_MAX or any(record.overflowed for record in records),
        shown_time_ms=shown_time_ms[shown],
        shown_item_index=np.concatenate([record.shown_item_index for record in records])[shown],
    )


def record_of_person(person: Person) -> VisitorRecord:
    """All that is the person's of what was read; a user's own record is all theirs.

    Raises:
        RecordFormatError: a record of another version.
    """
    if person.alone:
        return read_visitor(person.records[person.asked])
    parts = []
    for key, raw in sorted(person.records.items()):
        record = read_visitor(raw)
        parts.append(record if key == person.user else only_owned(record, person.identities[key], person.user))
    return of_one_person(parts)
