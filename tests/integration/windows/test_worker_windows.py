"""What a worker makes of the log: each event once, whoever works on it, and whatever it cannot read put aside."""

import asyncio

import msgspec
from prometheus_client import REGISTRY

from feature_store.dump import dump_windows
from feature_store.kpi import dashboard_numbers
from feature_store.rebuild import rebuild_online_store
from feature_store.record_updater import RecordUpdater
from feature_store.registry import REGISTRY as FEATURES
from feature_store.store_health import StoreHealth
from feature_store.touch_gathering import PlacedEvent
from feature_store.visitor_reader import VisitorReader
from ingest.bus import Position, Record
from ingest.events import Attribution, RejectedEvent, decode_event
from ingest.topics import EVENTS, EVENTS_REJECTED
from tests.integration.windows.windows_tools import (
    END_MS,
    PARTITIONS,
    START_MS,
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


async def rejected(system: System) -> list[RejectedEvent]:
    found = []
    async for delivery in system.bus.read(EVENTS_REJECTED, 0, until_now=True):
        found += [msgspec.json.decode(entry.payload or b"", type=RejectedEvent) for entry in delivery.entries]
    return found


async def test_windows_count_every_event_once_and_a_second_posting_changes_nothing(system: System) -> None:
    records = many_events(400, seed=1)
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records))
        once = await windows_of(system.store)

        await publish(system.bus, records)
        last = event_record(9_999, visitor=3, item_ids=["item-of-the-end"])
        everywhere = [event_record(10_000 + v, visitor=v, item_ids=["item-of-the-end"]) for v in range(40)]
        await taken_in(system.store, await publish(system.bus, [last, *everywhere]))
        twice = await windows_of(system.store)

    assert item_views(once) == expected_item_views(records)
    assert item_views(twice) == expected_item_views([*records, last, *everywhere])
    assert {name: w for name, w in twice.items() if name.startswith("placement:")} == {
        name: w for name, w in once.items() if name.startswith("placement:")
    }


async def test_a_visitor_is_read_as_they_clicked(embedded_system: System) -> None:
    system = embedded_system
    records = [
        event_record(2, item_ids=["second"], event="add_to_cart"),
        event_record(1, item_ids=["first"]),
        event_record(3, item_ids=[], event="search"),
        event_record(4, item_ids=["shown"], event="view_item_list"),
    ]

    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records))
    reader = VisitorReader(system.store)
    history = await reader.history(visitor_of(1), 5_000)

    assert history.item_ids == ("first", "second")
    assert history.time_ms.tolist() == [START_MS + 1, START_MS + 2]
    assert history.kind.tolist() == [1, 3]
    assert await reader.shown(visitor_of(1), 5_000) == (await reader.history(visitor_of(1), 5_000)).shown == ("shown",)


async def test_what_the_worker_cannot_apply_is_put_aside_with_reason_and_position(system: System) -> None:
    records = [
        event_record(1),
        Record(visitor_of(1), b'{"event":"view_item"}'),
        event_record(2, time_ms=END_MS, received_at_ms=START_MS, visitor=1),
        event_record(3),
    ]
    settings = msgspec.structs.replace(WORKER, future_ms_max=60_000)

    async with working(system.bus, system.store, settings):
        ends = await publish(system.bus, records)
        await taken_in(system.store, ends)

        async def told() -> bool:
            return len(await rejected(system)) >= 2

        await eventually(told, "two rejected events")

    by_code = {entry.code: entry for entry in await rejected(system)}
    assert set(by_code) == {"not-an-event", "time-in-future"}
    [partition] = ends
    for entry in by_code.values():
        assert entry.stage == "worker"
        number, _, position = (entry.position or "").partition("/")
        assert int(number) == partition
        assert Position.parse(position) < ends[partition]
    assert item_views(await windows_of(system.store)) == {"a": 2}


async def test_an_event_that_our_own_code_fails_on_holds_up_no_other(embedded_system: System) -> None:
    system = embedded_system
    identity = await system.store.identify()
    updater = RecordUpdater(system.store, WORKER, log_id=1)
    events = [decode_event(event_record(number).payload or b"") for number in range(3)]
    # No broker gives such a position; the kernels' 64-bit numbers do not hold it.
    positions = [Position(1, 0, 0), Position(2**63, 0, 0), Position(3, 0, 0)]

    broken = await updater.apply_apart(
        [PlacedEvent(event, 0, position) for event, position in zip(events, positions, strict=True)],
        identity=identity,
        catching_up=True,
    )

    assert [(placed.position, error.code) for placed, error in broken] == [(positions[1], "worker-failed")]
    assert item_views(await windows_of(system.store)) == {"a": 2}


async def test_late_events_move_no_window(embedded_system: System) -> None:
    system = embedded_system
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, [event_record(1, late=True), event_record(2)]))

    assert item_views(await windows_of(system.store)) == {"a": 1}


async def test_a_writer_with_old_records_reads_them_again_and_loses_nothing(embedded_system: System) -> None:
    system = embedded_system
    identity = await system.store.identify()
    events = [decode_event(event_record(number).payload or b"") for number in range(6)]
    placed = [PlacedEvent(event, 0, Position(number, 0, 0)) for number, event in enumerate(events)]
    paused, other = (RecordUpdater(system.store, WORKER, log_id=1) for _ in range(2))

    await paused.apply(placed[:2], identity=identity, catching_up=True)
    await other.apply(placed[:5], identity=identity, catching_up=True)
    await paused.apply(placed[2:4], identity=identity, catching_up=True)
    after_waking = await dump_windows(system.store, END_MS)
    await paused.apply(placed[2:], identity=identity, catching_up=True)

    assert item_views(after_waking) == {"a": 5}
    assert item_views(await windows_of(system.store)) == {"a": 6}


async def test_a_rebuilt_store_holds_the_same_windows(system: System) -> None:
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, many_events(400, seed=2)))
    before = await windows_of(system.store)

    applied = await rebuild_online_store(system.bus, system.store)

    assert applied == 400
    assert await windows_of(system.store) == before


async def test_a_store_is_rebuilt_under_a_running_worker(embedded_system: System) -> None:
    system = embedded_system
    records = many_events(600, seed=3)
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records[:300]))
        await rebuild_online_store(system.bus, system.store)
        await taken_in(system.store, await publish(system.bus, records[300:]))
        lived_through = await windows_of(system.store)
    await rebuild_online_store(system.bus, system.store)

    assert item_views(lived_through) == expected_item_views(records)
    assert lived_through == await windows_of(system.store)


async def test_the_dashboard_tells_what_happened(embedded_system: System) -> None:
    system = embedded_system
    shown = {"attribution": Attribution("home", START_MS)}
    hour_before_ms = START_MS - 3_600_000 - 120_000
    records = [
        *[event_record(number, visitor=number, item_ids=["rising"]) for number in range(20)],
        *[event_record(number, item_ids=["falling"], time_ms=hour_before_ms) for number in range(20, 50)],
        *[event_record(number, visitor=number, item_ids=["falling"]) for number in range(50, 53)],
        event_record(60, item_ids=["x", "y", "z", "w"], event="view_item_list", **shown),
        event_record(61, item_ids=["x"], event="select_item", **shown),
    ]

    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records))
        numbers = await dashboard_numbers(system.store, START_MS + 9_000)

    kinds = {kind.event: kind for kind in numbers.kinds}
    assert kinds["view_item"].per_second == 2.3
    assert [(p.item_id, p.views_1h, p.views_hour_before) for p in numbers.top] == [
        ("rising", 20, 0),
        ("falling", 3, 30),
    ]
    assert [(p.item_id, p.change) for p in numbers.rising] == [("rising", 20)]
    [home] = numbers.placements
    assert (home.placement, home.shown_1h, home.clicked_1h, home.ctr) == ("home", 4, 1, 0.25)


async def test_every_partition_is_checked_before_the_first_write(embedded_system: System) -> None:
    system = embedded_system
    async with working(system.bus, system.store):

        async def checked() -> bool:
            return None not in await system.store.checkpoints(range(PARTITIONS))

        await eventually(checked, "every partition's checkpoint")

    assert await system.store.meta() == (await system.bus.log_id(EVENTS), PARTITIONS)


async def test_every_window_in_the_store_is_a_declared_feature(embedded_system: System) -> None:
    system = embedded_system
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, many_events(200, seed=9)))

    # Pairs have no records of their own.
    declared = {feature.full_name for feature in FEATURES.features if feature.entity != "item_pair"}
    stored = {
        f"{name.split(':')[0]}:{window}"
        for name, windows in (await windows_of(system.store)).items()
        for window in windows
    }
    assert stored == declared


async def test_a_visitor_idle_for_longer_than_their_time_to_live_goes_and_is_counted(embedded_system: System) -> None:
    system = embedded_system
    settings = msgspec.structs.replace(WORKER, visitor_ttl_ms=300)
    reader = VisitorReader(system.store)
    async with working(system.bus, system.store, settings):
        await taken_in(system.store, await publish(system.bus, [event_record(1, visitor=1)]))
        fresh = await reader.history(visitor_of(1), 1_000)
        await asyncio.sleep(0.5)
        idle = await reader.history(visitor_of(1), 1_000)
        await taken_in(system.store, await publish(system.bus, [event_record(2, visitor=1, item_ids=["b"])]))
        back = await reader.history(visitor_of(1), 1_000)
    await StoreHealth().note(system.store, now_ms=END_MS)

    assert (fresh.item_ids, idle.item_ids, back.item_ids) == (("a",), (), ("b",))
    assert (REGISTRY.get_sample_value("afterclick_feature_store_expired_records") or 0) >= 1
    assert (REGISTRY.get_sample_value("afterclick_feature_store_memory_bytes") or 0) > 500_000
