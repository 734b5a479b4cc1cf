"""`afterclick catalog import`: products from a file into the running system."""

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from afterclick.console import errors_without_traceback, hint, say
from afterclick.errors import FrontDoorError

app = typer.Typer(help="The shop's products.", no_args_is_help=True)

_LINES = 5_000
_TRIES = 20
_SHOWN_MAX = 10


@app.callback()
def catalog() -> None:
    """The shop's products."""


@app.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV, Parquet, JSON lines, or a Google Merchant feed (XML or TSV).")
    ],
    url: Annotated[str, typer.Option(help="Where the API listens.")] = "http://127.0.0.1:8080",
    data_dir: Annotated[Path, typer.Option(help="The installation's data folder; its keys.toml is read.")] = Path(
        ".afterclick"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and show the first products, send nothing.")] = False,
) -> None:
    """Tell the running system every product of a file; what is told again replaces what was told before."""
    from ingest.catalog_files import read_products
    from ingest.errors import IngestError

    with errors_without_traceback(IngestError):
        products = read_products(file)
        if dry_run:
            for product in itertools.islice(products, _SHOWN_MAX):
                say(str(product))
            return
        accepted, rejected = _send(products, url, _secret_key(data_dir))
        say(f"{accepted} products taken, {rejected} refused")
        if not accepted:
            raise typer.Exit(1)


def _secret_key(data_dir: Path) -> str:
    from api.keys import load_or_make_keys

    if not (data_dir / "keys.toml").exists():
        raise FrontDoorError(
            f"{data_dir} must be the data folder of an installation; it has no keys.toml; name it with --data-dir"
        )
    return load_or_make_keys(data_dir)[0].secret_key


def _send(products: Iterable[dict[str, Any]], url: str, secret_key: str) -> tuple[int, int]:
    import httpx

    accepted = rejected = 0
    iterator = iter(products)
    headers = {"Authorization": f"Bearer {secret_key}", "Content-Type": "application/x-ndjson"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        while part := list(itertools.islice(iterator, _LINES)):
            answer = _post(client, part)
            accepted += answer["accepted"]
            rejected += answer["rejected"]
            for verdict in [v for v in answer["verdicts"] if v["status"] == "rejected"][:_SHOWN_MAX]:
                hint(f"refused {verdict.get('item_id') or part[verdict['line'] - 1]}: wanted {verdict['wanted']}")
    return accepted, rejected


def _post(client: Any, part: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import httpx
    import orjson

    body = b"\n".join(orjson.dumps(product) for product in part)
    said = ""
    for _ in range(_TRIES):
        try:
            response = client.post("/v1/catalog", content=body)
        except httpx.TransportError as error:
            said = str(error)
        else:
            if response.status_code == 200 or "verdicts" in response.json():
                answer: dict[str, Any] = response.json()
                return answer
            said = f"{response.status_code}: {response.json().get('detail')}"
            if response.status_code != 503:
                break
        time.sleep(0.5)
    raise FrontDoorError(f"the catalogue must be taken by {client.base_url}; got {said}; is the system running?")
