"""Read a visitor with all that is theirs: alone in one round trip, as a user with up to 16 browsers in two."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter

from feature_store import keys
from feature_store.identity_record import NO_IDENTITIES, NOBODY, Identities, read_identities
from feature_store.ownership import ownership_of
from feature_store.record_reader import RecordReader

_READS = Counter(
    "afterclick_feature_store_visitor_reads_total", "Visitors read, by round trips needed", ["round_trips"]
)


class Person(NamedTuple):
    """What is stored of a visitor asked for by `asked`, a browser's or a user's key.

    Attributes:
        user: the user's key; `NOBODY` for a browser that has logged out; `asked` for one that never was anybody's.
        records: visitor records as stored, by key: the asked one's, the user's own, those of the user's browsers.
        identities: of the same keys.
    """

    asked: bytes
    user: bytes
    records: Mapping[bytes, bytes | None]
    identities: Mapping[bytes, Identities]

    @property
    def alone(self) -> bool:
        """Nobody was ever identified here: the one record is all of it."""
        return self.identities[self.asked] is NO_IDENTITIES

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key that is this person's: the user's and their browsers'."""
        return tuple(self.records)


class PersonReader:
    """Reads visitors and what belongs to them.

    Args:
        reader: shares its round trips among concurrent requests.
        users_max: users whose list of browsers is remembered, so that one of these browsers takes two round trips; the
            first time it takes a third, to learn which the others are.
    """

    def __init__(self, reader: RecordReader, *, users_max: int) -> None:
        self._reader = reader
        self._users_max = users_max
        self._browsers_of: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()

    async def read(self, asked: bytes, deadline_ms: float) -> Person:
        """All that is stored of a visitor.

        Raises:
            StoreUnavailableError: no answer within `deadline_ms` from now.
            RecordFormatError: an identity record of another version.
        """
        [person] = await self.read_many([asked], deadline_ms)
        return person

    async def read_many(self, asked: Sequence[bytes], deadline_ms: float) -> list[Person]:
        """Several visitors in the round trips of one; errors as `read`."""
        deadline_s = asyncio.get_running_loop().time() + deadline_ms / 1000
        found = await self._reader.read(
            [name for key in asked for name in (keys.visitor_key(key), keys.identity_key(key))], deadline_ms
        )
        persons = [self._person(key, *found[2 * i : 2 * i + 2]) for i, key in enumerate(asked)]
        known = [i for i, person in enumerate(persons) if not person.alone and person.user != NOBODY]
        if known:
            whole = await asyncio.gather(*(self._with_browsers(persons[i], deadline_s) for i in known))
            for i, person in zip(known, whole, strict=True):
                persons[i] = person
        return persons

    def _person(self, asked: bytes, record: bytes | None, identity: bytes | None) -> Person:
        if identity is None:
            _READS.labels("1").inc()
            return Person(asked, asked, {asked: record}, {asked: NO_IDENTITIES})
        known = read_identities(identity)
        user = asked if known.browsers else ownership_of(known).current or NOBODY
        if user == NOBODY:
            _READS.labels("1").inc()
        return Person(asked, user, {asked: record}, {asked: known})

    async def _with_browsers(self, person: Person, deadline_s: float) -> Person:
        expected = self._listed(person) or self._browsers_of.get(person.user, ())
        person = await self._with(person, (person.user, *expected), deadline_s)
        listed = self._listed(person)
        self._remember(person.user, listed)
        trips = 2 if set(listed) <= set(person.records) else 3
        person = await self._with(person, listed, deadline_s)
        _READS.labels(str(trips)).inc()
        mine = [key for key in dict.fromkeys((person.asked, person.user, *listed)) if key in person.records]
        return person._replace(
            records={key: person.records[key] for key in mine}, identities={key: person.identities[key] for key in mine}
        )

    async def _with(self, person: Person, wanted: Iterable[bytes], deadline_s: float) -> Person:
        missing = [key for key in dict.fromkeys(wanted) if key not in person.records]
        if not missing:
            return person
        left_ms = (deadline_s - asyncio.get_running_loop().time()) * 1000
        names = [name for key in missing for name in (keys.visitor_key(key), keys.identity_key(key))]
        found = await self._reader.read(names, max(left_ms, 0.0))
        return person._replace(
            records={**person.records, **dict(zip(missing, found[::2], strict=True))},
            identities={
                **person.identities,
                **{k: read_identities(r) for k, r in zip(missing, found[1::2], strict=True)},
            },
        )

    def _listed(self, person: Person) -> tuple[bytes, ...]:
        """The user's browsers, as far as read."""
        return tuple(key for _, key in person.identities.get(person.user, NO_IDENTITIES).browsers)

    def _remember(self, user: bytes, browsers: tuple[bytes, ...]) -> None:
        self._browsers_of[user] = browsers
        self._browsers_of.move_to_end(user)
        if len(self._browsers_of) > self._users_max:
            self._browsers_of.popitem(last=False)
