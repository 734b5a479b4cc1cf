"""Tables: the latest value per key, its changes, its deletions."""

import time

import pytest

from ingest.bus import Bus, Entry, Position, Record, Table, open_bus
from ingest.topics import CATALOG


@pytest.fixture
async def table_bus(bus: Bus) -> Bus:
    await bus.ensure([CATALOG], partitions=4)
    return bus


async def _changes(table: Table, count: int) -> list[Entry]:
    found: list[Entry] = []
    deadline_s = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline_s:
        found += await table.changes(wait_ms=500)
    return found


async def test_holds_the_latest_value_of_each_key(table_bus: Bus) -> None:
    await table_bus.publish(CATALOG, [Record(b"a", b'"old"'), Record("é b".encode(), b"1"), Record(b"a", b'"new"')])

    table = await table_bus.table(CATALOG)

    assert table.items() == {b"a": b'"new"', "é b".encode(): b"1"}
    await table.close()


async def test_forgets_deleted_keys(table_bus: Bus) -> None:
    await table_bus.publish(CATALOG, [Record(b"a", b"1"), Record(b"b", b"2")])
    verdicts = await table_bus.publish(CATALOG, [Record(b"a", None)])

    table = await table_bus.table(CATALOG)

    assert isinstance(verdicts[0], Position)
    assert table.items() == {b"b": b"2"}
    await table.close()


async def test_tells_changes_and_deletions_in_order(table_bus: Bus) -> None:
    await table_bus.publish(CATALOG, [Record(b"a", b"1")])
    table = await table_bus.table(CATALOG)
    first = await _changes(table, 1)

    await table_bus.publish(CATALOG, [Record(b"b", b"2"), Record(b"a", None), Record(b"b", b"3")])
    then = await _changes(table, 3)

    assert [(entry.key, entry.payload) for entry in first] == [(b"a", b"1")]
    assert [(entry.key, entry.payload) for entry in then] == [(b"b", b"2"), (b"a", None), (b"b", b"3")]
    assert table.items() == {b"b": b"3"}
    assert await table.changes(wait_ms=50) == []
    await table.close()


async def test_what_is_given_out_is_a_copy(table_bus: Bus) -> None:
    await table_bus.publish(CATALOG, [Record(b"a", b"1")])
    table = await table_bus.table(CATALOG)

    table.items().clear()

    assert table.items() == {b"a": b"1"}
    await table.close()


async def test_a_second_process_sees_the_same(table_bus: Bus, bus_url: str) -> None:
    await table_bus.publish(CATALOG, [Record(b"sku-%d" % i, b'{"n":%d}' % i) for i in range(1_500)])
    await table_bus.publish(CATALOG, [Record(b"sku-%d" % i, None) for i in range(0, 1_500, 2)])

    other = await open_bus(bus_url)
    table = await other.table(CATALOG)

    assert table.items() == {b"sku-%d" % i: b'{"n":%d}' % i for i in range(1, 1_500, 2)}
    await table.close()
    await other.close()
