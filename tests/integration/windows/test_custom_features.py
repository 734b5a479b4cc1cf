"""A shop's own features, from the file that the docs show: listed, counted as events come, given their history."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from afterclick.__main__ import app
from afterclick.valkey_server import ValkeyServer
from feature_store import keys
from feature_store.errors import PluginError, RecordFormatError
from feature_store.online_features import OnlineFeatures
from feature_store.online_store import OnlineStore
from feature_store.plugins import Plugin, load_plugin
from feature_store.reading import read_features
from feature_store.rebuild import rebuild_online_store
from feature_store.settings import StoreSettings
from feature_store.visitor_reader import VisitorReader
from ingest.bus import open_bus
from ingest.events import Item
from ingest.topics import EVENTS, EVENTS_REJECTED
from tests.integration.windows.windows_tools import (
    BUS,
    PARTITIONS,
    START_MS,
    WORKER,
    event_record,
    publish,
    taken_in,
    visitor_of,
    working,
)

PAGE = Path(__file__).parents[3] / "docs" / "custom-features.md"
BRAND = ["brand:view_1h", "brand:sale_24h", "brand:view_decayed"]


@pytest.fixture
def shop_file(tmp_path: Path) -> Path:
    """The example of the docs page, as a file."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "shop_features.py"
    path.write_text(code)
    return path


async def brand_values(store: OnlineStore, plugin: Plugin, brand: str) -> list[object]:
    [number] = await store.send([("HGET", keys.ITEM_INDEX, keys.custom_name("brand", brand))])
    records = await store.read([keys.custom_key(partition, int(number)) for partition in range(PARTITIONS)])
    return read_features("brand", records, BRAND, START_MS + 60_000, name_of=str, registry=plugin.registry)


async def test_what_a_shop_counts_is_kept_by_the_worker_and_has_its_history_after_a_rebuild(
    embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, shop_file: Path
) -> None:
    bus = await open_bus(embedded_bus_server.url, BUS)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    without, declared = (
        OnlineStore(valkey_server.url, StoreSettings(features_module=name)) for name in ("", str(shop_file))
    )
    lamp = (Item(item_id="lamp", item_brand="lux"),)
    before = [event_record(number, visitor=number, items=lamp) for number in range(10)]
    since = [event_record(number, visitor=number, items=lamp, event="purchase") for number in range(10, 14)]
    async with working(bus, without):
        await taken_in(without, await publish(bus, before))
    async with working(bus, declared):
        await taken_in(declared, await publish(bus, since))

    plugin = load_plugin(str(shop_file))
    as_it_went = await brand_values(declared, plugin, "lux")
    await rebuild_online_store(bus, declared, WORKER)
    with_history = await brand_values(declared, plugin, "lux")

    assert as_it_went == [0, 4, 0.0]
    assert with_history[:2] == [10, 4]
    assert with_history[2] == pytest.approx(10, rel=0.01)
    await bus.close()
    for store in (without, declared):
        await store.close()


async def test_computed_and_on_demand_features_are_read_from_what_is_stored_anyway(
    embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, shop_file: Path
) -> None:
    bus = await open_bus(embedded_bus_server.url, BUS)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    store = OnlineStore(valkey_server.url)
    lamp = (Item(item_id="lamp", price=20.0),)
    records = [event_record(number, items=lamp) for number in range(4)]
    records.append(event_record(4, items=lamp, event="add_to_cart"))
    async with working(bus, store):
        await taken_in(store, await publish(bus, records))

    visitor = await store.read([keys.visitor_key(visitor_of(1))])
    share, times = read_features(
        "visitor",
        visitor,
        ["share_of_carts", "times_usual_price"],
        START_MS + 60_000,
        name_of=str,
        registry=load_plugin(str(shop_file)).registry,
        request={"price": 40.0},
    )

    assert share == 0.25
    assert times == pytest.approx(2.0, rel=0.04)  # prices are kept to 4 %
    await bus.close()
    await store.close()


async def test_serving_answers_the_shops_own_features_and_pairs_of_items(
    embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, shop_file: Path
) -> None:
    bus = await open_bus(embedded_bus_server.url, BUS)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    store = OnlineStore(valkey_server.url, StoreSettings(features_module=str(shop_file)))
    lamp = (Item(item_id="lamp", item_brand="lux", price=20.0),)
    records = [event_record(number, visitor=number, items=lamp) for number in range(40)]
    records += [event_record(number + 40, visitor=number, item_ids=["shade"]) for number in range(40)]
    async with working(bus, store):
        await taken_in(store, await publish(bus, records))
    serving = OnlineFeatures(store, VisitorReader(store))
    now_ms = START_MS + 60_000

    brands = await serving.read(["brand:view_1h"], ["lux", "nobody's"], now_ms=now_ms, deadline_ms=5_000)
    asked = await serving.read(
        ["visitor:times_usual_price"],
        [visitor_of(1), visitor_of(2)],
        now_ms=now_ms,
        deadline_ms=5_000,
        requests=[{"price": 40.0}, {}],
    )
    pairs = await serving.read(
        ["item_pair:covisited_share_1h"], ["lamp\tshade", "lamp\tnothing"], now_ms=now_ms, deadline_ms=5_000
    )

    assert [(row.values, row.statuses[0].value) for row in brands] == [((40,), "PRESENT"), ((0,), "NOT_FOUND")]
    assert asked[0].values[0] == pytest.approx(2.0, rel=0.04)
    assert (asked[1].values, asked[1].statuses[0].value) == ((None,), "NULL_VALUE")
    assert [row.values for row in pairs] == [(1.0,), (0.0,)]
    await bus.close()
    await store.close()


def test_the_shops_features_are_listed_and_described(shop_file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[store]\nfeatures_module = "{shop_file}"\n')

    listed = CliRunner().invoke(app, ["features", "list", "--config", str(settings)])
    described = CliRunner().invoke(
        app, ["features", "describe", "visitor:times_usual_price", "--config", str(settings)]
    )

    for name in ("brand:view_1h", "brand:sale_decayed", "visitor:share_of_carts", "visitor:view_7d"):
        assert re.search(rf"^{name} ", listed.output, re.MULTILINE)
    assert "computed on demand from price_mean, the request" in described.output


async def test_a_view_that_counts_something_else_under_its_old_name_is_refused(
    embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer, shop_file: Path, tmp_path: Path
) -> None:
    bus = await open_bus(embedded_bus_server.url, BUS)
    await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=PARTITIONS)
    store = OnlineStore(valkey_server.url, StoreSettings(features_module=str(shop_file)))
    async with working(bus, store):
        lamp = (Item(item_id="lamp", item_brand="lux"),)
        await taken_in(store, await publish(bus, [event_record(1, items=lamp)]))
    changed = tmp_path / "changed_features.py"
    changed.write_text(shop_file.read_text().replace('"sale": "purchase"', '"sale": "add_to_cart"'))

    with pytest.raises(RecordFormatError, match="give the changed view another name"):
        await brand_values(store, load_plugin(str(changed)), "lux")
    await bus.close()
    await store.close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("FEATURES = [1]", "wanted only CountedView"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("", "wanted a list FEATURES"),
        (
            "from feature_store.custom import computed\n"
            "FEATURES = [computed('visitor', 'view_1h', 'int64', len, owner='me', description='twice')]",
            "visitor:view_1h: wanted it declared once",
        ),
    ],
)
def test_a_file_that_declares_what_cannot_be_is_refused_with_the_reason(tmp_path: Path, code: str, told: str) -> None:
    path = tmp_path / f"features_{abs(hash(code))}.py"
    path.write_text(code)

    with pytest.raises(PluginError, match=re.escape(told)):
        load_plugin(str(path))
