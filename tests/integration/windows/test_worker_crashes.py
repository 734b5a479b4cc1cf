"""Windows after a crash equal those without it: workers paused and killed, the store killed, the bus away."""

import asyncio
import random

import pytest

from feature_store.errors import StoreMismatchError, StoreUnavailableError
from feature_store.rebuild import rebuild_online_store
from feature_store.visitor_reader import VisitorReader
from feature_store.worker import run_worker
from tests.integration.windows.windows_tools import (
    WORKER,
    System,
    event_record,
    eventually,
    expected_item_views,
    item_views,
    many_events,
    publish,
    taken_in,
    visitor_of,
    windows_of,
    working,
)


async def assert_equal_to_undisturbed(system: System, records: list) -> None:
    """The windows as they are, counted by hand and read once more from the log into an empty store."""
    disturbed = await windows_of(system.store)
    await rebuild_online_store(system.bus, system.store)

    assert item_views(disturbed) == expected_item_views(records)
    assert disturbed == await windows_of(system.store)


async def test_a_paused_worker_that_wakes_after_another_took_over_changes_nothing(system: System) -> None:
    records = many_events(900, seed=4)
    paused = system.start_worker()
    await taken_in(system.store, await publish(system.bus, records[:100]))
    await publish(system.bus, records[100:500])
    paused.pause()  # with deliveries in hand, most likely

    system.start_worker()
    await taken_in(system.store, await publish(system.bus, records[500:700]))
    taken_over = await windows_of(system.store)
    paused.wake()
    await taken_in(system.store, await publish(system.bus, records[700:]))

    assert paused.running
    assert item_views(taken_over) == expected_item_views(records[:700])
    await assert_equal_to_undisturbed(system, records)


async def test_a_worker_killed_at_any_instant_loses_and_repeats_nothing(system: System) -> None:
    rng = random.Random(5)
    records = many_events(900, seed=5)
    for third in range(3):
        worker = system.start_worker()
        ends = await publish(system.bus, records[300 * third : 300 * third + 300])
        await asyncio.sleep(rng.random() * 0.3)
        worker.kill()
    system.start_worker()
    await taken_in(system.store, ends)

    await assert_equal_to_undisturbed(system, records)


async def test_a_killed_store_is_caught_up_with_what_it_lost(system: System) -> None:
    records = many_events(900, seed=6)
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records[:300]))
        await publish(system.bus, records[300:600])
        # Its append-only file is flushed once a second: what was written in the last one is gone.
        system.store_server.kill()
        ends = await publish(system.bus, records[600:])
        system.store_server.start()
        await taken_in(system.store, ends)

        async def checked() -> bool:
            run_ids = {found.run_id for found in await system.store.checkpoints(range(4)) if found is not None}
            return run_ids == {(await system.store.identify()).run_id}

        await eventually(checked, "every partition to be read again")

    await assert_equal_to_undisturbed(system, records)


async def test_a_wiped_store_fills_itself_again(embedded_system: System) -> None:
    system = embedded_system
    records = many_events(400, seed=7)
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records[:300]))
        await system.store.wipe()
        await taken_in(system.store, await publish(system.bus, records[300:]))

    await assert_equal_to_undisturbed(system, records)


async def test_two_workers_share_the_partitions(system: System) -> None:
    records = many_events(600, seed=8)
    system.start_worker()
    system.start_worker()

    await taken_in(system.store, await publish(system.bus, records))

    await assert_equal_to_undisturbed(system, records)


async def test_the_records_of_another_log_are_refused_by_name(embedded_system: System) -> None:
    system = embedded_system
    await system.store.identify()
    await system.store.claim(log_id=12, partitions=4)

    with pytest.raises(StoreMismatchError, match=r"got those of log 000000000000000c.*afterclick rebuild"):
        await run_worker(system.bus, system.store, WORKER, asyncio.Event())


async def test_a_reader_is_told_in_time_that_the_store_is_down_and_finds_it_again(embedded_system: System) -> None:
    system = embedded_system
    reader = VisitorReader(system.store)
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, [event_record(1)]))
    assert (await reader.history(visitor_of(1), 5_000)).item_ids == ("a",)

    system.store_server.kill()
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    with pytest.raises(StoreUnavailableError):
        await reader.history(visitor_of(1), 50)
    assert loop.time() - asked_s < 1  # 50 ms, and a machine that does other things too

    system.store_server.start()

    async def back() -> bool:
        try:
            return (await reader.history(visitor_of(1), 1_000)).item_ids in {("a",), ()}
        except StoreUnavailableError:
            return False

    await eventually(back, "the reader to find the store again")


async def test_a_reader_forgets_the_numbers_of_a_store_that_was_rebuilt(embedded_system: System) -> None:
    system = embedded_system
    reader = VisitorReader(system.store)
    # The second partition's items come first when the store is made anew, so the numbers change.
    records = [event_record(i, visitor=i, item_ids=[f"item-{i}"]) for i in range(20)]
    async with working(system.bus, system.store):
        for record in records:
            await taken_in(system.store, await publish(system.bus, [record]))
        assert (await reader.history(visitor_of(7), 5_000)).item_ids == ("item-7",)

        await rebuild_online_store(system.bus, system.store)

        for i in range(20):
            assert (await reader.history(visitor_of(i), 5_000)).item_ids == (f"item-{i}",)


async def test_concurrent_reads_share_a_round_trip(embedded_system: System) -> None:
    system = embedded_system
    reader = VisitorReader(system.store)
    async with working(system.bus, system.store):
        records = [event_record(i, visitor=i, item_ids=[f"item-{i}"]) for i in range(50)]
        await taken_in(system.store, await publish(system.bus, records))
    await reader.history(visitor_of(1), 5_000)
    [before] = await system.store.send([("INFO", "commandstats")])

    histories = await asyncio.gather(*[reader.history(visitor_of(i), 5_000) for i in range(50)])

    [after] = await system.store.send([("INFO", "commandstats")])
    assert [history.item_ids for history in histories] == [(f"item-{i}",) for i in range(50)]
    assert _calls(after, "mget") - _calls(before, "mget") == 1


def _calls(stats: bytes, command: str) -> int:
    line = next(line for line in stats.decode().splitlines() if line.startswith(f"cmdstat_{command}:"))
    return int(line.split("calls=")[1].split(",")[0])
