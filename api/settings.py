"""Every limit and duration of the API, read once by the composition root: section `[api]`."""

from typing import Annotated

import msgspec

from recommender.placements import PLACEMENTS_DEFAULT, Placement, PlacementName

Positive = Annotated[int, msgspec.Meta(ge=1)]
NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Names = tuple[str, ...] | str
"""A list; as one string (an environment variable), separated by commas."""


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the API answers.

    Attributes:
        allowed_origins: whose pages may call `/v1/events` and `/v1/recommendations` from a browser; `*` is everybody.
        placements: names a shop may ask suggestions for, each with what it asks for when its request does not say
            (`recommender.placements`); of a list of names, what we think usual for a place of that name.
        rotation_visitors_max: visitors whose shown items are remembered, of those whose requests ask for rotation.
        events_body_bytes_max, recommendations_body_bytes_max, catalog_body_bytes_max: of one request.
        discarded_bytes_max: read and thrown away of a body that is too large, so that its sender gets to read why.
        catalog_lines_max: products in one call.
        items_from_clicks: make a product of an item that is clicked before the catalogue has heard of it, from what the
            event says of it.
        items_from_clicks_per_minute_max: by one server process; more are left out.
        in_flight_max: requests for suggestions worked on at once; beyond it 503.
        store_ms_max: longest wait for the visitor's record; less when the budget is short.
        store_share: of the time left that the read may take.
        store_failing_ms_max: when no read has succeeded for so long, the store is left alone for `store_retry_ms` at a
            time.
        answers_remembered_max: newest answers of this process, that `…/next` finds without asking the bus; 3 kB each,
            and 10 kB more where it is kept whole.
        bulk_body_bytes_max, bulk_lines_max: of one bulk request. bulk_streams_max: bulk requests at once in a process.
        bulk_concurrency: lines of one worked on at once.
        answers_pending_max: answers waiting to be logged; beyond it the oldest are dropped and counted.
        answers_kept_share: of the answers, 0 to 1, those that are logged with all they were made of; besides those
            whose request says `explain`.
        answers_flush_ms: how long an answer waits for others to be packed with.
        retry_after_s: what a 503 says.
        snippet_max_age_s: how long a browser may keep `/snippet.js` without asking.
        preflight_max_age_s: how long a browser may keep what a preflight said.
        session_max_age_s: how long a login at the dashboard lasts.
        connections_max: open connections of one process; one more is told 503 and closed.
        keep_alive_s: how long an idle connection is kept.
        settle_ms_max: how long a starting process listens to nobody while it waits for bus and catalogue; then it
            serves without them.
        drain_notice_ms: how long readiness says 503 before connections are refused; a load balancer's probe interval.
        drain_s_max: how long requests under way may take to finish after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8080
    allowed_origins: Names = ()
    placements: Names | dict[PlacementName, Placement] = tuple(PLACEMENTS_DEFAULT)
    events_body_bytes_max: Positive = 500_000
    recommendations_body_bytes_max: Positive = 65_536
    catalog_body_bytes_max: Positive = 33_554_432
    discarded_bytes_max: NonNegative = 33_554_432
    catalog_lines_max: Positive = 50_000
    items_from_clicks: bool = False
    items_from_clicks_per_minute_max: Positive = 600
    in_flight_max: Positive = 256
    store_ms_max: Positive = 100
    store_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    store_failing_ms_max: Positive = 1_000
    store_retry_ms: Positive = 500
    rotation_visitors_max: Positive = 20_000
    answers_remembered_max: NonNegative = 5_000
    bulk_body_bytes_max: Positive = 33_554_432
    bulk_lines_max: Positive = 100_000
    bulk_streams_max: Positive = 2
    bulk_concurrency: Annotated[int, msgspec.Meta(ge=1, le=128)] = 8
    answers_pending_max: Positive = 20_000
    answers_kept_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    answers_flush_ms: Positive = 100
    retry_after_s: Positive = 5
    snippet_max_age_s: NonNegative = 300
    preflight_max_age_s: NonNegative = 3_600
    session_max_age_s: Positive = 43_200
    connections_max: Positive = 4_096
    keep_alive_s: Positive = 75
    drain_notice_ms: NonNegative = 200
    settle_ms_max: NonNegative = 3_000
    drain_s_max: Positive = 10

    @property
    def origins(self) -> frozenset[str]:
        """`allowed_origins`, without trailing slashes."""
        return frozenset(name.rstrip("/") for name in split_names(self.allowed_origins))

    @property
    def placement_table(self) -> dict[str, Placement]:
        """`placements`, by name."""
        if isinstance(self.placements, dict):
            return self.placements
        return {name: PLACEMENTS_DEFAULT.get(name, Placement()) for name in split_names(self.placements)}


def split_names(names: Names) -> tuple[str, ...]:
    """A tuple as it is; a string cut at its commas."""
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return names
