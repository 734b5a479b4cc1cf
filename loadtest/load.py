"""Load the running system at a fixed rate, or to saturation, and write a report."""

import asyncio
import gc
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.catalog_fill import fill_catalog
from loadtest.client import Client
from loadtest.crowd import ProductFacts
from loadtest.delivery import Delivery, Tally
from loadtest.load_report import LoadReport, machine, stream_report
from loadtest.open_loop import Call, Samples, closed_loop, open_loop
from loadtest.processes import cpu_between, cpu_seconds, machine_cpu_seconds, pss_table, system_pids
from loadtest.settings import LoadOptions, SaturationOptions
from loadtest.synthetic_catalogue import synthetic_products
from loadtest.traffic import CrowdTraffic, Traffic, ask_call, event_call, open_traffic

SEED_BATCH = 100
FILL_DEADLINE_S = 60.0


async def run_load(options: LoadOptions) -> LoadReport:
    """Fill the catalogue, give visitors a history, warm up, then hold the rate; the report lies in `options.out`.

    Raises:
        InputFileError: the source cannot be read.
        ServerError: the system did not take the catalogue or the first events; later failures are figures.
    """
    traffic = open_traffic(options, synthetic_products(options.items, options.seed), run_id=secrets.token_hex(6))
    await _prepare(options, traffic)
    async with (
        _client(options, options.connections) as asking,
        _client(options, options.connections) as sending,
    ):
        asks, events = Samples(), Samples()
        watch = _Watch(options.api_url, options.pids, options.data_dir, after_s=options.warmup_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.begin())
            if options.recommendations_per_s:
                group.create_task(_ask_loop(options, asking, traffic, asks))
            if options.events_per_s:
                group.create_task(_event_loop(options, sending, traffic, events))
        watch.end()
    streams = [
        ("recommendations", asks, options.recommendations_per_s),
        ("events", events, options.events_per_s),
    ]
    return _report(
        watch,
        streams,
        out=options.out,
        title=options.title,
        kind="open loop",
        seconds=options.seconds,
        after_s=options.warmup_s,
        plots=options.plots,
        settings={
            "source": Path(options.source).name,
            "catalogue": f"{len(traffic.products):,} items",
            "events a request": str(options.batch_events),
            "n": str(options.n),
            "connections": str(options.connections),
        },
    )


async def run_saturation(options: SaturationOptions) -> LoadReport:
    """Ask with `connections` callers as fast as they are answered; the report lies in `options.out`.

    The visitors are those of a load run with the same seed, so that they have histories when one went before.
    """
    products = synthetic_products(options.items, options.seed)
    traffic = CrowdTraffic(products, shoppers=options.visitors, seed=options.seed, run_id="none")
    asks = Samples()
    async with Client(
        options.api_url,
        key=options.write_key,
        connections_max=options.connections,
        timeout_s=options.request_timeout_s,
    ) as client:
        watch = _Watch(options.api_url, options.pids, options.data_dir, after_s=options.warmup_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.begin())
            group.create_task(
                closed_loop(
                    client,
                    lambda: ask_call(traffic, options.placement, options.n),
                    callers=options.connections,
                    seconds=options.warmup_s + options.seconds,
                    samples=asks,
                    n_wanted=options.n,
                )
            )
        watch.end()
    return _report(
        watch,
        [("recommendations", asks, 0.0)],
        out=options.out,
        title=options.title,
        kind=f"closed loop of {options.connections} callers",
        seconds=options.seconds,
        after_s=options.warmup_s,
        plots=False,
        settings={"n": str(options.n)},
    )


async def _prepare(options: LoadOptions, traffic: Traffic) -> None:
    """Products into the catalogue, histories onto the visitors."""
    if options.fill_catalog and options.secret_key is not None:
        async with Client(options.api_url, key=options.secret_key, timeout_s=options.request_timeout_s) as client:
            await fill_catalog(client, _facts(traffic), lines_max=1000, deadline_s=FILL_DEADLINE_S)
    async with _client(options, 1) as client:
        delivery = Delivery(client, Tally(), deadline_s=FILL_DEADLINE_S)
        for _ in range(0, options.seed_events, SEED_BATCH):
            await delivery.send(traffic.events(SEED_BATCH))
    # With the driver's own objects frozen, its garbage collector does not write its pauses into the figures.
    gc.collect()
    gc.freeze()


def _facts(traffic: Traffic) -> Sequence[ProductFacts]:
    return [product for product in traffic.products if len(product["item_id"]) <= 64]


async def _ask_loop(options: LoadOptions, client: Client, traffic: Traffic, samples: Samples) -> None:
    await open_loop(
        client,
        lambda: ask_call(traffic, options.placement, options.n),
        calls_per_s=options.recommendations_per_s,
        seconds=options.warmup_s + options.seconds,
        in_flight_max=options.in_flight_max,
        samples=samples,
        n_wanted=options.n,
    )


async def _event_loop(options: LoadOptions, client: Client, traffic: Traffic, samples: Samples) -> None:
    def next_call() -> Call:
        return event_call(traffic, options.batch_events)

    await open_loop(
        client,
        next_call,
        calls_per_s=options.events_per_s / options.batch_events,
        seconds=options.warmup_s + options.seconds,
        in_flight_max=options.in_flight_max,
        samples=samples,
    )


class _Watch:
    """CPU of the driver and of the system between the end of the warm-up and the end, and memory at the end."""

    def __init__(self, api_url: str, pids: Sequence[int], data_dir: Path | None, *, after_s: float) -> None:
        self._after_s = after_s
        self._pids = tuple(pids) or system_pids(api_url, data_dir=data_dir)
        self._before: dict[int, float] = {}
        self._began_s = self._driver_before_s = self._machine_before_s = 0.0

    async def begin(self) -> None:
        """Wait for the end of the warm-up, then read the meters."""
        await asyncio.sleep(self._after_s)
        self._began_s, self._driver_before_s = time.monotonic(), time.process_time()
        self._machine_before_s = machine_cpu_seconds()
        self._before = cpu_seconds(self._pids)

    def end(self) -> None:
        """Read the meters again."""
        self.seconds = time.monotonic() - self._began_s
        self.driver_cores = round((time.process_time() - self._driver_before_s) / self.seconds, 3)
        self.system = cpu_between(self._before, cpu_seconds(self._pids), seconds=self.seconds)
        self.system_cores = round(sum(row.cores for row in self.system), 3)
        machine_cores = (machine_cpu_seconds() - self._machine_before_s) / self.seconds
        self.others_cores = round(max(0.0, machine_cores - self.driver_cores - self.system_cores), 3)
        self.memory = pss_table(self._pids)


def _report(
    watch: _Watch,
    streams: Sequence[tuple[str, Samples, float]],
    *,
    out: Path,
    title: str,
    kind: str,
    seconds: float,
    after_s: float,
    plots: bool,
    settings: dict[str, str],
) -> LoadReport:
    used = [(name, samples, wanted) for name, samples, wanted in streams if samples.status or samples.dropped]
    if plots:
        # Imported here: matplotlib takes half a second, and only a report wants it.
        from loadtest.plots import draw

        draw(out, {name: samples.since(after_s) for name, samples, _ in used}, seconds=seconds)
    report = LoadReport(
        title=title,
        kind=kind,
        seconds=seconds,
        settings=settings,
        machine=machine(),
        streams=[
            stream_report(name, samples, after_s=after_s, seconds=seconds, wanted_per_s=wanted)
            for name, samples, wanted in used
        ],
        driver_cores=watch.driver_cores,
        system_cores=watch.system_cores,
        others_cores=watch.others_cores,
        system=watch.system,
        memory=watch.memory,
        pss_bytes_total=sum(row.pss_bytes for row in watch.memory),
    )
    report.write(out)
    return report


def _client(options: LoadOptions, connections: int) -> Client:
    return Client(
        options.api_url, key=options.write_key, connections_max=connections, timeout_s=options.request_timeout_s
    )
