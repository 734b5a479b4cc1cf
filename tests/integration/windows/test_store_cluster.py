"""The online store on a real Valkey cluster: the same windows as on one server, whatever node dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from afterclick.valkey_server import ValkeyServer
from feature_store.cluster_slots import SHARED_TAG, partition_tags, slot_of
from feature_store.kpi import dashboard_numbers
from feature_store.online_store import OnlineStore
from feature_store.rebuild import rebuild_online_store
from feature_store.visitor_reader import VisitorReader
from ingest.bus import Bus, open_bus
from ingest.topics import EVENTS, EVENTS_REJECTED
from tests.integration.windows.valkey_cluster import valkey_cluster
from tests.integration.windows.windows_tools import (
    BUS,
    END_MS,
    PARTITIONS,
    WORKER,
    event_record,
    expected_item_views,
    item_views,
    many_events,
    publish,
    taken_in,
    visitor_of,
    windows_of,
    working,
)


@asynccontextmanager
async def opened(bus_url: str, store_url: str) -> AsyncIterator[tuple[Bus, OnlineStore]]:
    bus, store = await open_bus(bus_url, BUS), OnlineStore(store_url)
    try:
        await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
        yield bus, store
    finally:
        await store.close()
        await bus.close()


async def test_a_cluster_holds_the_windows_that_one_server_holds(
    embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    records = many_events(600, seed=5)
    with valkey_cluster(tmp_path) as cluster:
        async with opened(embedded_bus_server.url, cluster.url) as (bus, clustered):
            single = OnlineStore(valkey_server.url)
            async with working(bus, clustered):
                ends = await publish(bus, records)
                await taken_in(clustered, ends)
            await rebuild_online_store(bus, single, WORKER)
            of_cluster, of_one = await windows_of(clustered), await windows_of(single)
            numbers = await dashboard_numbers(clustered, END_MS)
            history = await VisitorReader(clustered).history(visitor_of(7), 1_000)
            expected = await VisitorReader(single).history(visitor_of(7), 1_000)
            sizes = [cluster.ask(node, "DBSIZE") for node in cluster.nodes]
            await single.close()

    assert of_cluster == of_one
    assert item_views(of_cluster) == expected_item_views(records)
    assert numbers.top
    assert history.item_ids == expected.item_ids
    assert len(history.item_ids) > 0
    assert all(int(str(size)) > 0 for size in sizes)


async def test_a_rebuild_of_a_cluster_wipes_every_node_and_fills_them_again(
    embedded_bus_server: ValkeyServer, tmp_path: Path
) -> None:
    with valkey_cluster(tmp_path) as cluster:
        async with opened(embedded_bus_server.url, cluster.url) as (bus, store):
            async with working(bus, store):
                await taken_in(store, await publish(bus, many_events(200, seed=6)))
            before = await windows_of(store)
            reader = VisitorReader(store)
            history = await reader.history(visitor_of(3), 1_000)

            applied = await rebuild_online_store(bus, store, WORKER)
            after = await windows_of(store)
            again = await reader.history(visitor_of(3), 1_000)

    assert applied == 200
    assert after == before
    assert again.item_ids == history.item_ids


async def test_windows_survive_the_death_of_any_node_with_a_replica(
    embedded_bus_server: ValkeyServer, tmp_path: Path
) -> None:
    records = many_events(900, seed=8)
    newcomers = [event_record(10_000 + i, visitor=i, item_ids=[f"new-{i}"]) for i in range(40)]
    with valkey_cluster(tmp_path, replicas=True) as cluster:
        async with opened(embedded_bus_server.url, cluster.url) as (bus, store):
            async with working(bus, store):
                await taken_in(store, await publish(bus, records[:600]))
                killed = cluster.node_of_slot(slot_of(partition_tags(PARTITIONS)[0]))
                killed.kill()
                ends = await publish(bus, records[600:])
                cluster.wait_for_takeover(killed)
                await taken_in(store, ends)
                with_index = cluster.node_of_slot(slot_of(SHARED_TAG))
                if with_index is not killed:
                    with_index.kill()
                    cluster.wait_for_takeover(with_index)
                await taken_in(store, await publish(bus, newcomers))
            after = await windows_of(store)
            await rebuild_online_store(bus, store, WORKER)
            made_anew = await windows_of(store)

    assert item_views(after) == expected_item_views([*records, *newcomers])
    assert after == made_anew
