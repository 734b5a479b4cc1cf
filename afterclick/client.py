"""Ask a running Afterclick from a shop's server: typed, one file, the standard library alone; copy it if you like.

shop = Client("http://127.0.0.1:8080", write_key)
answer = shop.recommend("7d0c9f6e", placement="product-page", item="85123A", n=4, return_properties=True)
for item in answer.items:
    print(item.id, item.properties.get("title"))
"""

import contextlib
import http.client
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["AfterclickError", "Client", "Item", "Recommendations", "Reranked", "UnansweredError"]


class AfterclickError(Exception):
    """The API refused: what it wanted, what it got, what to do."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail') or problem}")
        self.status = status
        self.code = str(problem.get("type", "")).rpartition("/")[2]
        self.wanted = problem.get("wanted")
        self.got = problem.get("got")
        self.next_step = problem.get("next_step")


class UnansweredError(Exception):
    """Nobody answered in time, or 503: show the page without suggestions."""


@dataclass(frozen=True, slots=True)
class Item:
    """One suggestion; `properties` are the catalogue's when asked for."""

    id: str
    score: float
    reasons: tuple[Mapping[str, str], ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recommendations:
    """An answer; `recommendation_id` goes back with what is shown and clicked."""

    recommendation_id: str
    placement: str
    items: tuple[Item, ...]
    served_by: str
    degraded: str | None
    model_version: str | None
    took_ms: float


@dataclass(frozen=True, slots=True)
class Reranked:
    """Candidates in the visitor's order; `order` is "given" where nothing is known of the visitor."""

    items: tuple[Item, ...]
    order: str
    degraded: str | None


class Client:
    """May be shared by threads: each keeps a connection of its own.

    Args:
        url: where the API listens.
        key: the write key; the secret key for `catalog` and `bulk`.
        timeout_s: after which a call raises `UnansweredError`; a little above the budgets you ask with.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 1.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: wanted http://HOST:PORT or https://HOST, got {url!r}")
        self._encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._root = parts.path.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s
        self._local = threading.local()

    def recommend(self, visitor: str, **question: Any) -> Recommendations:
        """What this visitor should see; `question` as in docs/api.md (`placement`, `n`, `item`, `filter`, …).

        Raises:
            AfterclickError: a parameter is wrong. UnansweredError: no answer in time.
        """
        return _recommendations(self._json("POST", "/v1/recommendations", {"visitor": visitor, **question}))

    def next(self, answer: Recommendations, visitor: str, **question: Any) -> Recommendations:
        """More, without what `answer` and those it goes on from have shown; raises as `recommend`."""
        path = f"/v1/recommendations/{quote(answer.recommendation_id, safe='')}/next"
        return _recommendations(self._json("POST", path, {"visitor": visitor, **question}))

    def rerank(self, visitor: str, items: Sequence[str], **question: Any) -> Reranked:
        """A search result in this visitor's order; raises as `recommend`."""
        found = self._json("POST", "/v1/rerank", {"visitor": visitor, "items": list(items), **question})
        return Reranked(_items(found["items"]), found["order"], found["degraded"])

    def similar(self, item_id: str, **question: Any) -> tuple[Item, ...]:
        """What goes with one item, whoever asks; raises as `recommend`."""
        return self._list(f"/v1/items/{quote(item_id, safe='')}/similar", question)

    def bought_together(self, item_id: str, **question: Any) -> tuple[Item, ...]:
        """What is bought with one item; raises as `recommend`."""
        return self._list(f"/v1/items/{quote(item_id, safe='')}/bought-together", question)

    def trending(self, **question: Any) -> tuple[Item, ...]:
        """What trends; raises as `recommend`."""
        return self._list("/v1/trending", question)

    def track(self, event: str, visitor: str, items: Sequence[Mapping[str, Any]] = (), **more: Any) -> None:
        """Tell one event, in GA4's names; returns when it is durable. Sent again with the same `message_id` it counts
        once.

        Raises:
            AfterclickError: it was rejected. UnansweredError: send it again.
        """
        body = {"message_id": uuid.uuid4().hex, "event": event, "anonymous_id": visitor, "items": list(items), **more}
        self._json("POST", "/v1/events", body)

    def catalog(self, products: Iterable[Mapping[str, Any]]) -> int:
        """Upsert products; how many were taken. Wants the secret key; raises as `track`."""
        taken: int = self._json("POST", "/v1/catalog", list(products))["accepted"]
        return taken

    def bulk(self, questions: Iterable[Mapping[str, Any]]) -> Iterator[Recommendations | AfterclickError]:
        """Answers in the order of `questions`, as they come; wants the secret key; raises as `recommend`."""
        lines = b"\n".join(json.dumps(question).encode() for question in questions)
        response = self._send("POST", "/v1/recommendations/bulk", lines, "application/x-ndjson")
        if response.status != 200:
            self._refuse(response.status, response.read())
        for line in response:
            answer = json.loads(line)
            problem = answer.get("problem")
            yield AfterclickError(problem["status"], problem) if problem else _recommendations(answer)

    def _list(self, path: str, question: Mapping[str, Any]) -> tuple[Item, ...]:
        words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in question.items()}
        return _items(self._json("GET", f"{path}?{urlencode(words)}", None)["items"])

    def _json(self, method: str, path: str, body: Any) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        response = self._send(method, path, sent, "application/json")
        text = self._read(response)
        if response.status >= 300:
            self._refuse(response.status, text)
        return json.loads(text)

    def _send(self, method: str, path: str, body: bytes | None, kind: str) -> http.client.HTTPResponse:
        headers = {"X-Afterclick-Key": self._key} | ({"Content-Type": kind} if body is not None else {})
        for last_try in (False, True):
            connection = self._connection()
            try:
                connection.request(method, self._root + path, body, headers)
                return connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                # A connection that was kept may have been closed by the other end meanwhile; a fresh one says for sure.
                self._drop()
                if last_try:
                    raise UnansweredError(str(error) or "the connection was closed") from error
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                raise UnansweredError(str(error) or type(error).__name__) from error
        raise AssertionError("both tries end above")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise UnansweredError(str(error) or type(error).__name__) from error

    def _refuse(self, status: int, text: bytes) -> None:
        if status in {429, 502, 503, 504}:
            raise UnansweredError(f"status {status}")
        problem: Any = {}
        with contextlib.suppress(ValueError):
            problem = json.loads(text)
        raise AfterclickError(status, problem if isinstance(problem, dict) else {"detail": str(problem)})

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._encrypted else http.client.HTTPConnection
            connection = self._local.connection = kind(self._host, self._port, timeout=self._timeout_s)
        return connection

    def _drop(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def _recommendations(found: Mapping[str, Any]) -> Recommendations:
    return Recommendations(
        found["recommendation_id"],
        found["placement"],
        _items(found["items"]),
        found["served_by"],
        found["degraded"],
        found["model_version"],
        found["took_ms"],
    )


def _items(found: Iterable[Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(
        Item(item["id"], item["score"], tuple(item.get("reasons", ())), item.get("properties", {})) for item in found
    )
