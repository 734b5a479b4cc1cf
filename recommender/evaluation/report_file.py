"""Reports as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """`report` as indented JSON; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
