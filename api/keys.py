"""The installation's keys: made at the first start, kept in `<data-dir>/keys.toml`, readable by its owner alone."""

import os
import secrets
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from api.errors import KeysFileError

KEYS_FILE = "keys.toml"
Key = Annotated[str, msgspec.Meta(min_length=16, max_length=128, pattern="^[A-Za-z0-9_-]+$")]


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Never logged, never in an error.

    Attributes:
        write_key: may sit in a shop's page: events in, suggestions out.
        secret_key: everything else.
        visitor_secret: hex; keys the hash that raw visitor ids become. Changing it makes every visitor a new one.
    """

    write_key: Key
    secret_key: Key
    visitor_secret: Annotated[str, msgspec.Meta(min_length=32, max_length=128, pattern="^([0-9a-f]{2})+$")]

    def __repr__(self) -> str:
        return "Keys(…)"

    @property
    def visitor_secret_bytes(self) -> bytes:
        """For `ingest.identity.visitor_key`."""
        return bytes.fromhex(self.visitor_secret)


def load_or_make_keys(data_dir: Path) -> tuple[Keys, bool]:
    """The keys of `data_dir`, and whether they were made just now (then show them, once).

    Several processes may start at once: the first to link its file wins, the others read that one.

    Raises:
        KeysFileError: the file is there and cannot be used; nothing is overwritten.
    """
    path = data_dir / KEYS_FILE
    if path.exists():
        return _load(path), False
    data_dir.mkdir(parents=True, exist_ok=True)
    keys = Keys(f"wk_{secrets.token_urlsafe(24)}", f"sk_{secrets.token_urlsafe(24)}", secrets.token_hex(32))
    aside = data_dir / f".{KEYS_FILE}.{secrets.token_hex(4)}"
    try:
        _write_private(aside, keys)
        os.link(aside, path)
    except FileExistsError:
        return _load(path), False
    finally:
        aside.unlink(missing_ok=True)
    return keys, True


def _write_private(path: Path, keys: Keys) -> None:
    text = "# Made at the first start. The write key may sit in a page; the others must not leave this machine.\n"
    text += "".join(f'{name} = "{value}"\n' for name, value in msgspec.structs.asdict(keys).items())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _load(path: Path) -> Keys:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Keys)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        # The cause may quote the file; the message must not.
        raise KeysFileError(
            "keys_file_unusable",
            wanted=f"write_key, secret_key and visitor_secret in {path}",
            got=type(error).__name__,
            next_step="restore the file from a backup; only a new installation may start without it",
        ) from None
