"""Replay a file of real clicks through the running system, over HTTP, and report what became of them."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtest.asking import ASKABLE, Asker
from loadtest.catalog_fill import Filled, fill_catalog
from loadtest.client import Client
from loadtest.delivery import Delivery, Tally
from loadtest.errors import InputFileError
from loadtest.files import EventFile, Row, message_id, read_events
from loadtest.freshness import FreshnessProbe
from loadtest.lanes import Batch, Step, send_in_lanes
from loadtest.replay_report import ReplayReport
from loadtest.settings import ReplayOptions
from loadtest.stamps import Stamp, due_s, stamp_of


async def replay(options: ReplayOptions) -> ReplayReport:
    """Send every usable row of the file once, in each visitor's order; a second run changes nothing.

    Raises:
        InputFileError: the file cannot be read as events; nothing was sent.
        ServerError: the server refused for good, or was away for longer than the deadline.
    """
    file = _read(options)
    # The secret key opens history older than the allowed lateness; what is stamped on arrival never needs it.
    events_key = options.write_key if options.times == "arrival" else options.secret_key or options.write_key
    async with (
        _client(options, events_key, connections_max=options.lanes) as sending,
        _client(options, options.write_key, connections_max=options.lanes + 1) as asking,
        _client(options, options.secret_key or options.write_key, connections_max=2) as managing,
    ):
        products = await _fill_catalog(options, file, managing)
        return await _Replay(options, file, sending, asking, managing).run(products)


class _Replay:
    """One run: what its lanes share."""

    def __init__(
        self, options: ReplayOptions, file: EventFile, sending: Client, asking: Client, managing: Client
    ) -> None:
        self._options = options
        self._file = file
        self._speed = None if options.speed == "max" else float(options.speed)
        self._tally = Tally()
        self._delivery = Delivery(sending, self._tally, deadline_s=options.send_deadline_s)
        self._asker = Asker(asking, n=options.ask_n, placement=options.placement)
        self._probe = FreshnessProbe(asking, managing, every=options.freshness_every, placement=options.placement)
        self._acknowledged_s: dict[str, float] = {}
        self._behind_s_max = 0.0
        first_ms, last_ms = _span_ms(file)
        self._first_ms = first_ms
        self._start_s = time.monotonic()
        self._stamp: Stamp = stamp_of(
            options.times, speed=self._speed, first_ms=first_ms, last_ms=last_ms, start_ms=time.time_ns() // 1_000_000
        )

    async def run(self, products: Filled) -> ReplayReport:
        """Send all, then report."""
        options = self._options
        await self._probe.begin()
        with _progress(enabled=options.progress) as progress:
            task = progress.add_task(f"replay {options.file.name}", total=self._file.usable.height)

            async def send(batch: Batch) -> None:
                await self._send(batch)
                progress.advance(task, len(batch))

            await send_in_lanes(
                self._steps(),
                send,
                lanes=options.lanes,
                batch_rows_max=options.batch_events_max,
                lane_batches_max=options.lane_batches_max,
                due_in_s=None if self._speed is None else self._due_in_s,
                linger_s=options.linger_ms / 1000.0,
            )
        seconds = time.monotonic() - self._start_s
        await self._probe.finish()
        return self._report(products, seconds)

    def _steps(self) -> Iterator[Step]:
        every = self._options.ask_every
        for at, row in enumerate(self._file.rows(), 1):
            yield Step(row, ask=every > 0 and at % every == 0 and row.event in ASKABLE)

    def _due_in_s(self, row: Row) -> float:
        assert self._speed is not None
        due = self._start_s + due_s(row.time_ms, first_ms=self._first_ms, speed=self._speed)
        wait_s = due - time.monotonic()
        self._behind_s_max = max(self._behind_s_max, -wait_s)
        return wait_s

    async def _send(self, batch: Batch) -> None:
        """Send a batch of one lane; an ask parts it, so that what its visitor did before is acknowledged first."""
        rows: list[Row] = []
        for step in batch:
            if step.ask:
                await self._post(rows)
                rows = []
                await self._settle(step.row.visitor)
                await self._asker.ask(step.row)
            rows.append(step.row)
        await self._post(rows)

    async def _post(self, rows: list[Row]) -> None:
        if not rows:
            return
        await self._delivery.send([self._wire(row) for row in rows])
        now_s = time.monotonic()
        if self._options.ask_every and self._options.settle_ms:
            self._remember(rows, now_s)
        self._probe.acknowledged(rows, now_s)

    def _remember(self, rows: list[Row], now_s: float) -> None:
        """Note when each visitor was last acknowledged; what is older than the settling time is of no use."""
        if len(self._acknowledged_s) > 50_000:
            oldest_s = now_s - self._options.settle_ms / 1000.0
            self._acknowledged_s = {who: at_s for who, at_s in self._acknowledged_s.items() if at_s > oldest_s}
        self._acknowledged_s.update((row.visitor, now_s) for row in rows)

    async def _settle(self, visitor: str) -> None:
        at_s = self._acknowledged_s.get(visitor)
        if at_s is not None and (wait_s := at_s + self._options.settle_ms / 1000.0 - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _wire(self, row: Row) -> dict[str, Any]:
        return wire_event(row, digest=self._file.digest, stamp=self._stamp, currency=self._options.currency)

    def _report(self, products: Filled, seconds: float) -> ReplayReport:
        options, tally = self._options, self._tally
        return ReplayReport(
            file=options.file.name,
            digest=self._file.digest,
            speed=str(options.speed),
            times=options.times,
            timed=self._file.timed,
            rows=self._file.rows_total,
            unusable=dict(self._file.unusable),
            sent=tally.sent,
            accepted=tally.accepted,
            rejected=dict(tally.rejected),
            resent=tally.resent,
            retries=dict(tally.retries),
            requests=tally.requests,
            seconds=round(seconds, 3),
            events_per_s=round(tally.sent / seconds, 1) if seconds else 0.0,
            behind_s_max=round(self._behind_s_max, 3),
            products=products.accepted,
            products_rejected=products.rejected,
            settle_ms=options.settle_ms,
            asks=self._asker.report() if options.ask_every else None,
            freshness=self._probe.report(),
        )


def wire_event(row: Row, *, digest: str, stamp: Stamp, currency: str | None) -> dict[str, Any]:
    """One row as `/v1/events` takes it. `sent_at` is left out: without it the collector takes the time as it is."""
    event: dict[str, Any] = {
        "message_id": message_id(digest, row.row),
        "event": row.event,
        "anonymous_id": row.visitor,
    }
    if row.session is not None:
        event["session_id"] = row.session[:128]
    if (time_ms := stamp(row.time_ms)) is not None:
        event["timestamp"] = time_ms
    if row.item is not None:
        item: dict[str, Any] = {"item_id": row.item, "quantity": row.quantity}
        if row.price is not None:
            item["price"] = row.price
            if row.event in {"purchase", "refund"}:
                event["value"] = round(row.price * row.quantity, 2)
        event["items"] = [item]
    if currency is not None:
        event["currency"] = currency
    return event


def _read(options: ReplayOptions) -> EventFile:
    file = read_events(
        options.file,
        columns=options.columns,
        kinds=options.kinds,
        event_default=options.event_default,
        split=options.split,
        limit=options.limit,
        time_unit=options.time_unit,
        spacing_ms=options.spacing_ms,
        times_kept=options.times == "kept",
    )
    if options.times == "kept" and not file.timed:
        raise InputFileError(
            wanted="the file's own times, for --times kept",
            got=f"{options.file.name}, which has none",
            next_step="say --times arrival or --times scaled, or name the column with --time COLUMN",
        )
    return file


def _span_ms(file: EventFile) -> tuple[int, int]:
    """The first and the last usable row's time; zeros for a file without rows."""
    times = file.usable["time_ms"]
    return (int(times[0]), int(times[-1])) if len(times) else (0, 0)


async def _fill_catalog(options: ReplayOptions, file: EventFile, client: Client) -> Filled:
    if not options.catalog or options.secret_key is None:
        return Filled()
    facts = [
        {**product._asdict(), "currency": options.currency if product.price is not None else None}
        for product in file.products
        if len(product.item_id) <= 64
    ]
    return await fill_catalog(client, facts, lines_max=options.catalog_lines_max, deadline_s=options.send_deadline_s)


def _client(options: ReplayOptions, key: str, *, connections_max: int) -> Client:
    return Client(options.api_url, key=key, connections_max=connections_max, timeout_s=options.request_timeout_s)


def _progress(*, enabled: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), disable=not enabled)
