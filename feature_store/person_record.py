"""One person's records as one: a user's own and those of their browsers, of each only what was theirs."""

from feature_store.identity_record import Identities
from feature_store.ownership import ownership_of
from feature_store.person_reader import Person
from feature_store.visitor_record import EMPTY_VISITOR, UNKNOWN_LET_GO, VisitorRecord, merge_visitors, read_visitor


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
        category_index=record.category_index[events],
        price_code=record.price_code[events],
        # Whose the events before were is not known any more: windows that reach there say "at least".
        let_go=UNKNOWN_LET_GO if record.let_go is not None else None,
        first_ms=int(record.time_ms[events].min(initial=record.time_ms[-1])) if events.any() else 0,
        shown_time_ms=record.shown_time_ms[shown],
        shown_item_index=record.shown_item_index[shown],
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
    return merge_visitors(parts)
