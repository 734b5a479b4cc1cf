"""`afterclick rules`: what the merchandiser decided, on the command line and as a file for git."""

from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer

from afterclick.console import errors_without_traceback, say
from afterclick.errors import ServerRefusedError
from loadtest.errors import LoadTestError
from loadtest.system import read_keys

app = typer.Typer(help="Rules, placements and experiments: list, export, import, undo.", no_args_is_help=True)

Url = Annotated[str, typer.Option(help="Where the API listens.")]
DataDir = Annotated[Path, typer.Option(help="The installation's data folder; its keys.toml is read.")]
Who = Annotated[str, typer.Option(help="Who does it, for the audit.")]

_URL = "http://127.0.0.1:8080"
_DATA_DIR = Path(".afterclick")
_TIMEOUT_S = 30.0
_KINDS = ("rule", "placement", "experiment")


@app.command(name="list")
def list_documents(url: Url = _URL, data_dir: DataDir = _DATA_DIR) -> None:
    """What there is: kind, id, and the document."""
    with errors_without_traceback(LoadTestError, httpx.HTTPError):
        file = _ask(url, data_dir, "GET", "/v1/merchandising")
        for kind in _KINDS:
            for document_id, document in sorted(file[f"{kind}s"].items()):
                say(f"{kind:10} {document_id:24} {msgspec.json.encode(document).decode()}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Written anew; keep it in git.")],
    url: Url = _URL,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Everything decided, as one JSON file."""
    with errors_without_traceback(LoadTestError, httpx.HTTPError, OSError):
        found = _ask(url, data_dir, "GET", "/v1/merchandising")
        file.write_bytes(msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=2) + b"\n")
        say(f"{sum(len(documents) for documents in found.values())} documents written to {file}")


@app.command(name="import")
def import_file(
    file: Annotated[Path, typer.Argument(help="As `export` writes it; what is missing in it is deleted.")],
    who: Who = "afterclick rules import",
    url: Url = _URL,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Make everything as the file has it; what is alike is left alone."""
    with errors_without_traceback(LoadTestError, httpx.HTTPError, OSError):
        answer = _ask(url, data_dir, "PUT", "/v1/merchandising", params={"who": who}, body=file.read_bytes())
        refused = [outcome for outcome in answer["outcomes"] if outcome["status"] != "applied"]
        say(f"{len(answer['outcomes']) - len(refused)} changed, {answer['unchanged']} as they were")
        for outcome in refused:
            say(f"{outcome['status']}: {outcome['reason']}")
        if refused:
            raise typer.Exit(1)


@app.command()
def undo(
    kind: Annotated[str, typer.Argument(help="rule, placement or experiment.")],
    document_id: Annotated[str, typer.Argument(help="Its id.")],
    to: Annotated[int | None, typer.Option(help="The version to go back to; the one before, without it.")] = None,
    who: Who = "afterclick rules undo",
    url: Url = _URL,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Go back to an earlier version, as a new entry of the log."""
    with errors_without_traceback(LoadTestError, httpx.HTTPError):
        path = f"/v1/{kind}s/{document_id}"
        edits = _ask(url, data_dir, "GET", path)["version"]
        body = msgspec.json.encode({"edits": edits, "who": who} | ({} if to is None else {"to": to}))
        say(f"{kind} {document_id} is now version {_ask(url, data_dir, 'POST', path + '/undo', body=body)['version']}")


@app.command()
def audit(url: Url = _URL, data_dir: DataDir = _DATA_DIR) -> None:
    """Who changed what, the newest first."""
    with errors_without_traceback(LoadTestError, httpx.HTTPError):
        for change in _ask(url, data_dir, "GET", "/v1/merchandising/audit")["changes"]:
            what = "deleted" if change["after"] is None else "changed" if change["before"] is not None else "made"
            say(f"{change['at_ms']}  {change['who'] or '-':24} {what:8} {change['kind']} {change['id']}")


def _ask(
    url: str,
    data_dir: Path,
    method: str,
    path: str,
    *,
    params: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Any:
    """The answer's JSON.

    Raises:
        ServerRefusedError: anything but a 2xx; says what the server said.
    """
    headers = {"Authorization": f"Bearer {read_keys(data_dir).secret_key}", "Content-Type": "application/json"}
    response = httpx.request(method, url + path, headers=headers, params=params, content=body, timeout=_TIMEOUT_S)
    if not response.is_success:
        raise ServerRefusedError(_said(response))
    return response.json()


def _said(response: httpx.Response) -> str:
    """Of a problem document the part that helps; else what came."""
    try:
        problem = response.json()
        return f"{problem['title']}: wanted {problem['wanted']}; got {problem['got']}; {problem['next_step']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered {response.status_code}: {response.text[:200]}"
