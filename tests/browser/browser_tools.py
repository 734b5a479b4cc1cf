"""Real HTTP servers for the browser tests: one that records what the snippet sends, one that serves test pages."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from ingest.events import SentEvent
from ingest.snippet import snippet_script

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_MISSING = (
    f"wanted Chromium at {CHROMIUM}, got nothing there; install the Debian package `chromium` "
    "(`apt-get install --yes chromium`) and run the tests again"
)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_S = 60


class Post(NamedTuple):
    """One POST of events as it arrived, and what it was answered. `sent_at_ms` is the browser's clock."""

    status: int
    events: list[dict[str, Any]]
    sent_at_ms: int
    at_s: float
    content_type: str
    beacon: bool
    key: str


class Server:
    """A threaded HTTP server on a free port of the loopback; `reply` is called for each request."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.reply(self, b"")

            def do_POST(self) -> None:
                outer.reply(self, self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def do_OPTIONS(self) -> None:
                outer.reply(self, b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        raise NotImplementedError


def answer(
    request: BaseHTTPRequestHandler, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None
) -> None:
    """Send one whole response."""
    request.send_response(status)
    for name, text in {"Content-Type": media_type, "Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, text)
    request.end_headers()
    # A browser that has moved on hangs up; that is no failure of the test.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        request.wfile.write(body)


class PageHost(Server):
    """A shop's origin: `pages` by path, written by the test, each with the snippet's loader in its head."""

    def __init__(self, api_url: str) -> None:
        super().__init__()
        self._api_url = api_url
        self.pages: dict[str, str] = {}

    def add(self, path: str, body: str, *, options: str = "", loader: bool = True) -> str:
        """Serve `body` at `path`; `options` are more of the init's, as JavaScript. Returns the page's address."""
        head = (
            "<script>window.afterclick=window.afterclick||function(){(afterclick.q=afterclick.q||[]).push(arguments)};"
            f"afterclick('init',{{key:'wk',endpoint:'{self._api_url}',{options}}})</script>"
            f'<script async src="{self._api_url}/snippet.js"></script>'
        )
        self.pages[path] = f"<!doctype html><title>t</title>{head if loader else ''}{body}"
        return self.url + path

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        found = self.pages.get(urlsplit(request.path).path)
        answer(request, 200 if found else 404, (found or "").encode(), "text/html; charset=utf-8")


class RecordingCollector(Server):
    """An API origin for the snippet alone: records, and fails as told. The real API is in the end-to-end test."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[Post] = []
        self.asked: list[dict[str, str]] = []
        self.troubles: list[tuple[int, dict[str, str]]] = []
        """Statuses (and headers) the next POSTs are answered with, first first; 202 once it is empty."""
        self.down = False
        self.silent = threading.Event()
        """Once set, connections are taken and never answered."""
        self.suggested = ["FW-001", "FW-012", "FW-023"]
        self._lock = threading.Lock()

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Every event answered with 202, in order of arrival, repeats included."""
        return [event for post in list(self.posts) if post.status == 202 for event in post.events]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The same, once each: a page that was left before it read its 202 sends again, as the contract allows."""
        return list({event["message_id"]: event for event in self.sent}.values())

    def named(self, name: str) -> list[dict[str, Any]]:
        """The accepted events of that name."""
        return [event for event in self.accepted if event["event"] == name]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for `condition`, generously; a test fails with what it waited for and what came instead."""
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"waited {WAIT_S} s for {what}; got {self.posts}"
            await asyncio.sleep(0.02)

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.silent.is_set():
            time.sleep(WAIT_S)
            return
        address = urlsplit(request.path)
        query = {name: texts[0] for name, texts in parse_qs(address.query).items()}
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
        if address.path == "/snippet.js":
            # The script stays when the API goes: what is tested is the snippet's own conduct.
            answer(request, 200, snippet_script(), "text/javascript", headers)
        elif self.down:
            request.connection.close()
        elif address.path == "/v1/events":
            self._take(request, body, query, headers)
        elif address.path == "/v1/recommendations":
            self._suggest(request, query, headers)
        else:
            answer(request, 404, b"", "text/plain", headers)

    def _take(
        self, request: BaseHTTPRequestHandler, body: bytes, query: dict[str, str], headers: dict[str, str]
    ) -> None:
        batch = json.loads(body)
        for event in batch["events"]:
            msgspec.convert(event, SentEvent)
        assert isinstance(batch["sent_at"], int)
        with self._lock:
            status, more = self.troubles.pop(0) if self.troubles else (202, {})
            kind, mode = request.headers.get("Content-Type", ""), request.headers.get("Sec-Fetch-Mode")
            self.posts.append(
                Post(
                    status,
                    batch["events"],
                    batch["sent_at"],
                    time.monotonic(),
                    kind,
                    mode == "no-cors",
                    query.get("key", ""),
                )
            )
        answer(request, status, b"{}", "application/json", {**headers, **more})

    def _suggest(self, request: BaseHTTPRequestHandler, query: dict[str, str], headers: dict[str, str]) -> None:
        with self._lock:
            self.asked.append(query)
            number = len(self.asked)
        items = [
            {
                "id": item_id,
                "score": 1.0,
                "properties": {
                    "title": f"Thing {item_id}",
                    "price": 12.5,
                    "currency": "EUR",
                    "image": f"/images/{item_id}.svg",
                    "url": f"/products/{item_id}",
                },
            }
            for item_id in self.suggested
        ]
        told = {
            "recommendation_id": f"rec-{number}",
            "placement": query["placement"],
            "items": items,
            "served_by": "blend",
            "degraded": None,
            "model_version": "1",
            "took_ms": 2.5,
        }
        answer(request, 200, json.dumps(told).encode(), "application/json", headers)
