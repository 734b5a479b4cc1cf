"""Choose the adapter by the URL's scheme."""

from ingest.bus.contract import Bus
from ingest.errors import BusError


async def open_bus(url: str) -> Bus:
    """Connect to `pulsar://host:port` (admin port by `?admin=http://…`) or `valkey://host:port` / `unix://path`.

    Raises:
        BusError: the scheme is not one of these.
        BusUnavailableError: nobody answers there.
    """
    scheme = url.split(":", 1)[0]
    if scheme == "pulsar":
        from ingest.bus.pulsar import PulsarBus  # 60 MB resident; only when it is used

        return await PulsarBus.connect(url)
    if scheme in {"valkey", "unix"}:
        from ingest.bus.embedded import EmbeddedBus

        return await EmbeddedBus.connect(url)
    raise BusError(
        f"bus URL must begin with pulsar://, valkey:// or unix://, got {scheme}://; see `afterclick up --help`"
    )
