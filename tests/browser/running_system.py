"""Start the whole of Afterclick as its users do, with the sample shop beside it, and fill it with shoppers' clicks."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
import tomllib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from loadtest.storefront import TASTES, run_shop, shop_catalogue, shop_products

READY_S = 180
_READY = "Afterclick is ready at "


class RunningSystem(NamedTuple):
    """A system that answers, and a shop that uses it. `bus` is "embedded" or "pulsar"."""

    bus: str
    api_url: str
    shop_url: str
    write_key: str
    secret_key: str


@contextlib.asynccontextmanager
async def running_system(bus: str, data_dir: Path) -> AsyncIterator[RunningSystem]:
    """`afterclick up` on free ports and the sample shop on its own; both are stopped at the end."""
    shop_port = _free_port()
    shop_url = f"http://127.0.0.1:{shop_port}"
    command = ("-m", "afterclick", "up", "--bus", bus, "--data-dir", str(data_dir), "--port", "0")
    # The allow-list names the shop alone: it is another origin, as every retailer's is.
    environment = {**os.environ, "AFTERCLICK_API_ALLOWED_ORIGINS": shop_url, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said: list[str] = []
    try:
        api_url = await asyncio.wait_for(_address(process, said), READY_S)
        draining = asyncio.create_task(_drain(process))
        keys = tomllib.loads((data_dir / "keys.toml").read_text())
        stop = asyncio.Event()
        shop = asyncio.create_task(
            run_shop("127.0.0.1", shop_port, api_url=api_url, write_key=keys["write_key"], stop=stop)
        )
        yield RunningSystem(bus.partition(":")[0], api_url, shop_url, keys["write_key"], keys["secret_key"])
        stop.set()
        await shop
        draining.cancel()
    except TimeoutError as error:
        raise AssertionError(f"`afterclick up` was not ready within {READY_S} s; it said: {said}") from error
    finally:
        await _stop(process)


async def fill(system: RunningSystem, *, visitors: int, seed: int) -> None:
    """Post the catalogue, and the clicks of `visitors` who each browse one taste; most of them cook."""
    chance = random.Random(seed)
    async with httpx.AsyncClient(base_url=system.api_url, timeout=30) as client:
        catalogue = "\n".join(json.dumps(product) for product in shop_catalogue(system.shop_url))
        posted = await client.post(
            "/v1/catalog",
            content=catalogue,
            headers={"Authorization": f"Bearer {system.secret_key}", "Content-Type": "application/x-ndjson"},
        )
        assert posted.is_success, posted.text
        tastes = [*TASTES, *["cook"] * len(TASTES)]
        events = [event for _ in range(visitors) for event in _visit(chance, chance.choice(tastes))]
        for first in range(0, len(events), 500):
            batch = {"events": events[first : first + 500], "sent_at": _now_ms()}
            taken = await client.post("/v1/events", json=batch, headers={"Authorization": f"Bearer {system.write_key}"})
            assert taken.status_code == 202, taken.text


async def suggestions(system: RunningSystem, visitor: str, **more: Any) -> dict[str, Any]:
    """One answer of the API."""
    async with httpx.AsyncClient(base_url=system.api_url, timeout=30) as client:
        reply = await client.get(
            "/v1/recommendations",
            params={"visitor": visitor, "placement": "home", **more},
            headers={"Authorization": f"Bearer {system.write_key}"},
        )
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer


def _visit(chance: random.Random, taste: str) -> list[dict[str, Any]]:
    """Eight views of one visitor, mostly from one shelf of their taste, a second apart."""
    visitor, shelf = str(uuid.UUID(int=chance.getrandbits(128))), chance.choice(TASTES[taste])
    near = [product for product in shop_products() if product.category == shelf]
    wide = [product for product in shop_products() if product.category in TASTES[taste]]
    seen = [chance.choice(near if chance.random() < 0.7 else wide) for _ in range(8)]
    now_ms = _now_ms()
    return [
        {
            "message_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "event": "view_item",
            "anonymous_id": visitor,
            "timestamp": now_ms - 1_000 * (len(seen) - number),
            "items": [{"item_id": product.item_id}],
        }
        for number, product in enumerate(seen)
    ]


async def _address(process: asyncio.subprocess.Process, said: list[str]) -> str:
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        said.append(line.rstrip())
        if _READY in line:
            return line.partition(_READY)[2].strip()
    raise AssertionError(f"`afterclick up` ended with {await process.wait()}; it said: {said}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.readline():
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
