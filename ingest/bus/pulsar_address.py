"""Where a Pulsar is: `pulsar://host:port/tenant/namespace?admin=http://host:port`."""

from urllib.parse import parse_qs, urlsplit

import msgspec

from ingest.errors import BusError
from ingest.topics import Topic

_BROKER_PORT = 6650
_ADMIN_PORT = 8080


class PulsarAddress(msgspec.Struct, frozen=True):
    """A broker, its admin API, and the namespace that is ours."""

    host: str
    port: int
    admin_url: str
    tenant: str
    namespace: str

    @property
    def service_url(self) -> str:
        """For the client."""
        return f"pulsar://{self.host}:{self.port}"

    def path(self, topic: Topic, partition: int | None = None) -> str:
        """`tenant/namespace/topic`, of one partition if the topic has them."""
        suffix = f"-partition-{partition}" if topic.partitioned and partition is not None else ""
        return f"{self.tenant}/{self.namespace}/{topic.name}{suffix}"


def parse_address(url: str) -> PulsarAddress:
    """Read a bus URL; port, tenant, namespace and admin URL have defaults.

    Raises:
        BusError: it is none, or names something we do not know.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    path = [part for part in parts.path.split("/") if part]
    if parts.scheme != "pulsar" or not parts.hostname or len(path) not in {0, 2} or query.keys() - {"admin"}:
        raise BusError(f"wanted pulsar://HOST[:PORT][/TENANT/NAMESPACE][?admin=http://HOST:PORT], got {url}")
    tenant, namespace = path or ("public", "afterclick")
    admin_url = query.get("admin", [f"http://{parts.hostname}:{_ADMIN_PORT}"])[0]
    return PulsarAddress(parts.hostname, parts.port or _BROKER_PORT, admin_url.rstrip("/"), tenant, namespace)
