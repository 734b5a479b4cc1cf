"""The calls of Pulsar's admin API that the bus needs: namespace, topics, retention, log ids."""

import asyncio
import secrets
import time
from typing import Any

import httpx
import msgspec

from ingest.bus.pulsar_address import PulsarAddress
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.topics import Topic

_LOG_ID = "afterclick_log_id"
_LOG_IDS = 2**63
_BACKOFF_S = 0.2
_ALIVE_S = 0.5
_MINUTE_MS = 60_000
_PARTITIONED = {"Content-Type": "application/vnd.partitioned-topic-metadata+json"}
# Of a topic; beyond it publishes are refused with their own error instead of being held until they time out.
_BACKLOG_BYTES_MAX = 10 * 2**30


class PulsarAdmin:
    """Talks to the admin API of one namespace; waits within `admin_timeout_ms` for a broker that is starting."""

    def __init__(self, address: PulsarAddress, settings: BusSettings) -> None:
        self._address = address
        self._settings = settings
        self._timeout_s = settings.admin_timeout_ms / 1000
        self._http = httpx.AsyncClient(base_url=f"{address.admin_url}/admin/v2/", timeout=self._timeout_s)

    async def ensure_namespace(self) -> None:
        """Make tenant and namespace if they are missing; an existing namespace keeps the policies it has.

        Raises:
            BusUnavailableError: the admin API does not answer.
            BusError: it refuses.
        """
        tenant, namespace = self._address.tenant, f"{self._address.tenant}/{self._address.namespace}"
        if await self._get(f"namespaces/{namespace}") is not None:
            return
        if await self._get(f"tenants/{tenant}") is None:
            clusters = await self._get("clusters")
            await self._send(
                "PUT", f"tenants/{tenant}", {"adminRoles": [], "allowedClusters": clusters}, or_exists=True
            )
        policies = {
            # Deduplication is off by default, retention 0: a replay would find nothing.
            "deduplicationEnabled": True,
            # A client that comes back to a wiped broker must not make topics that have no log id.
            "autoTopicCreationOverride": {"allowAutoTopicCreation": False},
            "retention_policies": {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1},
            "inactive_topic_policies": {
                "inactiveTopicDeleteMode": "delete_when_no_subscriptions",
                "maxInactiveDurationSeconds": 60,
                "deleteWhileInactive": False,
            },
            "backlog_quota_map": {
                "destination_storage": {
                    "limitSize": _BACKLOG_BYTES_MAX,
                    "limitTime": -1,
                    "policy": "producer_exception",
                }
            },
        }
        await self._send("PUT", f"namespaces/{namespace}", policies, or_exists=True)

    async def ensure_topic(self, topic: Topic, partitions: int) -> None:
        """Make the topic with its log id, if it is missing, and set its retention.

        Raises:
            BusError: as `ensure_namespace`.
        """
        path = f"persistent/{self._address.path(topic)}"
        mark = {_LOG_ID: str(secrets.randbelow(_LOG_IDS - 1) + 1)}
        # The id comes with the topic in one call, so that two processes that start at once agree on it.
        if topic.partitioned:
            body = {"partitions": partitions, "properties": mark}
            await self._send("PUT", f"{path}/partitions", body, or_exists=True, headers=_PARTITIONED)
        else:
            await self._send("PUT", path, mark, or_exists=True)
        minutes = -1 if topic.retention_ms is None else max(1, topic.retention_ms // _MINUTE_MS)
        await self._send("POST", f"{path}/retention", {"retentionTimeInMinutes": minutes, "retentionSizeInMB": -1})
        if topic.kind == "table":
            # Of tables only: compacting a stream of packs would read all of it for nothing, and hold back its trimming.
            await self._send("POST", f"{path}/compactionThreshold", self._settings.compaction_bytes)
        if await self._log_id(topic) is None:
            # Somebody else made the topic, without an id.
            await self._send("PUT", f"{path}/properties", mark)

    async def partitions(self, topic: Topic) -> int:
        """How many the topic was made with.

        Raises:
            BusError: as `ensure_namespace`, or the topic is not there.
        """
        if not topic.partitioned:
            return 1
        found = await self._get(f"persistent/{self._address.path(topic)}/partitions") or {}
        if not found.get("partitions"):
            raise _not_there(topic)
        return int(found["partitions"])

    async def log_id(self, topic: Topic) -> int:
        """The id that was made with the topic.

        Raises:
            BusError: as `ensure_namespace`, or the topic is not there.
        """
        log_id = await self._log_id(topic)
        if log_id is None:
            raise _not_there(topic)
        return log_id

    async def last_message(self, topic: Topic, partition: int) -> tuple[int, int, int] | None:
        """Ledger, entry and place in the batch of the newest message; None when there never was one.

        Raises:
            BusError: as `ensure_namespace`, or the topic is not there.
        """
        found = await self._get(f"persistent/{self._address.path(topic, partition)}/lastMessageId")
        if found is None:
            raise _not_there(topic)
        place = int(found["ledgerId"]), int(found["entryId"]), max(0, int(found["batchIndex"]))
        return place if place[1] >= 0 else None

    async def forget(self, topic: Topic, subscription: str) -> None:
        """Delete a subscription, wherever consumers of it are; idempotent.

        Raises:
            BusError: as `ensure_namespace`.
        """
        path = f"persistent/{self._address.path(topic)}/subscription/{subscription}?force=true"
        await self._send("DELETE", path, None, or_missing=True)

    async def alive(self) -> bool:
        """Does the broker say it is ready?"""
        try:
            answer = await self._http.get("brokers/ready", timeout=_ALIVE_S)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _log_id(self, topic: Topic) -> int | None:
        properties = await self._get(f"persistent/{self._address.path(topic)}/properties") or {}
        found = properties.get(_LOG_ID)
        return int(found) if found else None

    async def _get(self, path: str) -> Any:
        answer = await self._ask("GET", path, None, {})
        if answer.status_code == 404:
            return None
        _check(answer, path)
        return msgspec.json.decode(answer.content) if answer.content else {}

    async def _send(
        self,
        method: str,
        path: str,
        body: object,
        *,
        or_exists: bool = False,
        or_missing: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        answer = await self._ask(method, path, body, headers or {"Content-Type": "application/json"})
        if not (or_exists and answer.status_code == 409) and not (or_missing and answer.status_code == 404):
            _check(answer, path)

    async def _ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> httpx.Response:
        """One call, repeated within the timeout while the broker does not answer or says it is not ready."""
        content = msgspec.json.encode(body) if body is not None else None
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            try:
                answer = await self._http.request(method, path, content=content, headers=headers, follow_redirects=True)
                if answer.status_code < 500 or time.monotonic() >= deadline_s:
                    return answer
            except httpx.HTTPError as error:
                if time.monotonic() >= deadline_s:
                    admin = self._address.admin_url
                    reason = f"{type(error).__name__} {error}".strip()
                    raise BusUnavailableError(f"Pulsar's admin API at {admin} does not answer ({reason})") from error
            await asyncio.sleep(_BACKOFF_S)


def _check(answer: httpx.Response, path: str) -> None:
    if answer.status_code >= 500:
        raise BusUnavailableError(f"Pulsar's admin API answered {answer.status_code} to {path}: {answer.text[:200]}")
    if answer.status_code >= 400:
        raise BusError(f"Pulsar's admin API answered {answer.status_code} to {path}: {answer.text[:200]}")


def _not_there(topic: Topic) -> BusError:
    return BusError(f"topic {topic.name} is not there; call `ensure` first, as `afterclick up` does")
