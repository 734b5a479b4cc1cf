"""All settings of one installation: the sections of the file, one struct each."""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from afterclick.settings_file import read_sections
from api.settings import ApiSettings
from api.webhooks import WebhookSettings
from feature_store.settings import ParitySettings, StoreSettings, WorkerSettings
from ingest.archive_place import ArchivePlace, open_place
from ingest.bus.settings import BusSettings
from ingest.settings import ArchiveSettings, CollectorSettings, DedupSettings
from recommender.settings import LearnerSettings, RecommenderSettings
from recommender.triggers.settings import TriggerSettings


class SystemSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is running where.

    Attributes:
        bus: "embedded", or `pulsar://host:port`.
        store: "embedded", `valkey://host:port`, or `valkey-cluster://host:port[,host:port ...]`.
        data_dir: everything the system writes lies under it.
        partitions: of `events`; fixed when the topic is made.
        servers: server processes side by side on one port; when one dies the others answer.
    """

    bus: str = "embedded"
    store: str = "embedded"
    data_dir: str = ".afterclick"
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    servers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2


class Settings(msgspec.Struct, frozen=True):
    """The file, section by section."""

    system: SystemSettings = SystemSettings()
    api: ApiSettings = ApiSettings()
    bus: BusSettings = BusSettings()
    collector: CollectorSettings = CollectorSettings()
    dedup: DedupSettings = DedupSettings()
    archive: ArchiveSettings = ArchiveSettings()
    store: StoreSettings = StoreSettings()
    worker: WorkerSettings = WorkerSettings()
    parity: ParitySettings = ParitySettings()
    recommender: RecommenderSettings = RecommenderSettings()
    learner: LearnerSettings = LearnerSettings()
    triggers: TriggerSettings = TriggerSettings()
    webhook: WebhookSettings = WebhookSettings()

    @property
    def data_dir(self) -> Path:
        """Where everything lies."""
        return Path(self.system.data_dir)

    @property
    def run_dir(self) -> Path:
        """What only a running system needs: process ids, the resolved settings, metrics files."""
        return self.data_dir / "run"

    @property
    def archive_dir(self) -> Path:
        """The Parquet archive of `events`, when it lies in a folder of its own making."""
        return self.data_dir / "archive" / "events"

    def open_archive(self) -> ArchivePlace:
        """Where the archive of `events` lies.

        Raises:
            ArchiveError: `[archive] url` or its options are of no kind that is known.
        """
        return open_place(self.archive.url or self.archive_dir, self.archive.options)

    @property
    def model_dir(self) -> Path:
        """Snapshots of the model."""
        return self.data_dir / "model"


def load_settings(config: Path | None, **system_overrides: Any) -> Settings:
    """Defaults, then the file, then the environment, then what the command line gave (None: not given).

    Raises:
        SettingsError: an unknown key or a bad value, named.
    """
    kinds: dict[str, type[msgspec.Struct]] = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    settings = Settings(**read_sections(config, env=os.environ, sections=kinds))
    api = {name: value for name, value in system_overrides.items() if name in {"host", "port"} and value is not None}
    system = {
        name: value for name, value in system_overrides.items() if name not in {"host", "port"} and value is not None
    }
    return msgspec.structs.replace(
        settings,
        api=msgspec.structs.replace(settings.api, **api),
        system=msgspec.structs.replace(settings.system, **system),
    )
