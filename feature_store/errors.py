"""The ways the feature store fails, and whose fault each is.

FeatureStoreError
├── StoreUnavailableError   our fault: the store does not answer in time; workers wait, the API takes a lower rung
├── StoreChangedError       the store was restarted, wiped or rebuilt: what was cached of it is void, read again
├── StoreConflictError      another writer kept getting ahead; the batch is taken again after a pause
├── StoreMismatchError      an operator's matter: the records belong to another log; names both and the command
├── RecordFormatError       an operator's matter: a record of another version; names both and the command
├── PluginError             an operator's matter: the shop's own features cannot be loaded; says what is wrong
├── UnknownFeatureError     the caller's fault: a feature that is not declared; names some that are
└── EventRefusedError       the sender's fault: this event cannot be applied; it goes to `events-rejected`
"""


class FeatureStoreError(Exception):
    """Root of everything `feature_store` raises on purpose."""


class StoreUnavailableError(FeatureStoreError):
    """The online store does not answer within the time the caller gave."""


class StoreChangedError(FeatureStoreError):
    """The online store is not the one that was read from: restarted, wiped or rebuilt since."""


class StoreConflictError(FeatureStoreError):
    """The compare-and-set of a record kept failing although it was read again each time."""


class StoreMismatchError(FeatureStoreError):
    """The online store holds the records of another log than the topic's."""


class RecordFormatError(FeatureStoreError):
    """A stored record has a version or a layout that this release does not read."""


class PluginError(FeatureStoreError):
    """The file of the shop's own features cannot be loaded, or declares what cannot be."""


class UnknownFeatureError(FeatureStoreError):
    """A feature was asked for that nobody declared."""


class EventRefusedError(FeatureStoreError):
    """An event that passed the collector and still cannot be applied."""

    def __init__(self, code: str, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"{code}: wanted {wanted}; got {got}; {next_step}")
        self.code = code
        self.wanted = wanted
        self.got = got
        self.next_step = next_step
