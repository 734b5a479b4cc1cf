"""Call the shop's webhook for every engagement: signed, repeated until it answers, never twice on purpose."""

import asyncio
import hmac
import random
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated

import httpx
import msgspec
import structlog
from prometheus_client import Counter

from feature_store.stream_alerts import StreamAlert, decode_alert
from ingest.bus.contract import Bus, Delivery, Subscription
from ingest.errors import BusError
from ingest.topics import ENGAGEMENTS
from recommender.triggers import Engagement, decode_engagement

SUBSCRIPTION = "webhook"
SIGNATURE = "Afterclick-Signature"

_WAIT_MS = 500
_RETRY_S = 0.5
_FINAL = frozenset({400, 404, 405, 410, 413, 415, 422})
"""The receiver will not have it, however often it is sent."""

_calls = Counter("afterclick_api_webhook_calls_total", "Calls of the webhook, by what came of them", ["outcome"])
_log = structlog.get_logger(__name__)


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[webhook]`: whom to call. Give the secret as AFTERCLICK_WEBHOOK_SECRET, not in a file."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$")] = ""
    """Empty: nobody is called; engagements wait on their topic for whoever subscribes."""
    secret: Annotated[str, msgspec.Meta(max_length=256)] = ""
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 5_000
    in_flight_max: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    backoff_ms: Annotated[int, msgspec.Meta(ge=1)] = 2_000
    """Before the first repetition; four times as long before each further one, with jitter."""

    def __post_init__(self) -> None:
        if self.url and len(self.secret) < 16:
            raise ValueError("secret: wanted at least 16 characters to sign the calls with; got fewer")


async def run_webhooks(
    bus: Bus,
    settings: WebhookSettings,
    stop: asyncio.Event,
    *,
    seconds: Callable[[], float] = time.time,
) -> None:
    """Call `settings.url` for every engagement until `stop`. What is never taken goes to the dead letters."""
    stopped = asyncio.create_task(stop.wait())
    async with httpx.AsyncClient(timeout=settings.timeout_ms / 1000, follow_redirects=False) as client:
        while not stop.is_set():
            try:
                subscription = await bus.subscribe(ENGAGEMENTS, SUBSCRIPTION, mode="queue")
                try:
                    await _consume(subscription, client, settings, stop, seconds)
                finally:
                    await subscription.close()
            except BusError as error:
                _log.warning("webhooks lost the bus", reason=str(error))
                await asyncio.wait({stopped}, timeout=_RETRY_S)
    stopped.cancel()


def signature_of(body: bytes, *, secret: str, at_s: int) -> str:
    """The header's value: `t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. Refuse calls whose time is long ago."""
    signed = hmac.new(secret.encode(), b"%d." % at_s + body, sha256).hexdigest()
    return f"t={at_s},v1={signed}"


async def _consume(
    subscription: Subscription,
    client: httpx.AsyncClient,
    settings: WebhookSettings,
    stop: asyncio.Event,
    seconds: Callable[[], float],
) -> None:
    while not stop.is_set():
        deliveries = await subscription.receive(wait_ms=_WAIT_MS, entries_max=settings.in_flight_max)
        await asyncio.gather(*(_deliver(found, subscription, client, settings, seconds) for found in deliveries))


async def _deliver(
    delivery: Delivery,
    subscription: Subscription,
    client: httpx.AsyncClient,
    settings: WebhookSettings,
    seconds: Callable[[], float],
) -> None:
    body = delivery.entries[0].payload or b""
    try:
        engagement = _decoded(body)
    except msgspec.DecodeError:
        _calls.labels("unreadable").inc()
        await subscription.acknowledge(delivery)
        return
    outcome = await _call(client, settings, engagement, body, int(seconds()))
    _calls.labels(outcome).inc()
    if outcome == "failed":
        delay_ms = settings.backoff_ms * 4**delivery.redelivery_count
        # Full jitter keeps what failed together from coming back together.
        await subscription.nack(delivery, delay_ms=round(delay_ms * random.uniform(0.5, 1.5)))
        return
    await subscription.acknowledge(delivery)


def _decoded(body: bytes) -> Engagement | StreamAlert:
    """What turns to a visitor, or to the people who run the shop.

    Raises:
        msgspec.DecodeError: it is neither.
    """
    try:
        return decode_engagement(body)
    except msgspec.ValidationError:
        return decode_alert(body)


async def _call(
    client: httpx.AsyncClient, settings: WebhookSettings, engagement: Engagement | StreamAlert, body: bytes, at_s: int
) -> str:
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": engagement.engagement_id,
        SIGNATURE: signature_of(body, secret=settings.secret, at_s=at_s),
    }
    try:
        response = await client.post(settings.url, content=body, headers=headers)
    except httpx.HTTPError as error:
        _log.warning("webhook not reached", reason=type(error).__name__)
        return "failed"
    if response.is_success:
        return "taken"
    _log.warning("webhook refused", status=response.status_code)
    return "refused" if response.status_code in _FINAL else "failed"
