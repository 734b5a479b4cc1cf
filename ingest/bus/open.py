"""Choose the adapter by the URL's scheme."""

from ingest.bus.contract import Below, Bus
from ingest.bus.settings import BusSettings
from ingest.errors import BusError


async def open_bus(url: str, settings: BusSettings | None = None, *, below: Below | None = None) -> Bus:
    """Connect to `pulsar://host:port[/tenant/namespace][?admin=http://…]` or `valkey://host:port` / `unix:///path`.

    `below`: the archive, in which the embedded bus's `read` goes on under what was trimmed; Pulsar needs none.

    Raises:
        BusError: the scheme is not one of these.
        BusUnavailableError: nobody answers there.
    """
    scheme = url.split(":", 1)[0]
    if scheme == "pulsar":
        from ingest.bus.pulsar import PulsarBus  # 60 MB resident; only when it is used

        return await PulsarBus.connect(url, settings)
    if scheme in {"valkey", "unix"}:
        from ingest.bus.embedded import EmbeddedBus

        return await EmbeddedBus.connect(url, settings, below=below)
    raise BusError(
        f"bus URL must begin with pulsar://, valkey:// or unix://, got {scheme}://; see `afterclick up --help`"
    )
