"""Read one TOML file and its `AFTERCLICK_SECTION_KEY` overrides into frozen structs, one per room."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from afterclick.errors import SettingsError

_ENV_PREFIX = "AFTERCLICK_"
# Variables of ours that are no settings: where data sets and caches lie, and what a test run insists on.
_NOT_SETTINGS = {"AFTERCLICK_DATASETS", "AFTERCLICK_CACHE", "AFTERCLICK_REQUIRE", "AFTERCLICK_CONFIG"}
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")

Settings = TypeVar("Settings", bound=msgspec.Struct)
Section = Mapping[str, Any]


def read_sections(
    path: Path | None, *, env: Mapping[str, str], sections: Mapping[str, type[msgspec.Struct]]
) -> dict[str, Any]:
    """Every section's struct, by name: defaults, then the file, then the environment.

    Raises:
        SettingsError: no such file, broken TOML, an unknown section or key, or a bad value; says which.
    """
    raw = {name: dict(values) for name, values in _read_file(path).items()}
    for name in raw:
        if name not in sections:
            raise SettingsError(f"unknown section [{name}] in {path}{_did_you_mean(name, sections)}")
    for name, key, text in _overrides(env, sections):
        raw.setdefault(name, {})[key] = text
    return {name: _convert(raw.get(name, {}), kind, section=name) for name, kind in sections.items()}


def parse_duration_ms(text: str) -> int:
    """`"10s"`, `"1h"`, `"250ms"` in milliseconds.

    Raises:
        SettingsError: it is not a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f'a duration must look like "250ms", "10s", "5m", "1h" or "7d", got "{text}"')
    return round(float(match[1]) * _UNIT_MS[match[2]])


def _read_file(path: Path | None) -> dict[str, Section]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise SettingsError(f"no settings file {path}; make one, or leave --config away for the defaults") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} must be TOML: {error}") from error


def _overrides(env: Mapping[str, str], sections: Mapping[str, type[msgspec.Struct]]) -> list[tuple[str, str, str]]:
    found = []
    for variable, text in env.items():
        if not variable.startswith(_ENV_PREFIX) or variable in _NOT_SETTINGS:
            continue
        rest = variable[len(_ENV_PREFIX) :].lower()
        section = next((name for name in sections if rest.startswith(name + "_")), None)
        if section is None:
            raise SettingsError(f"{variable}: no section of that name; sections are {', '.join(sections)}")
        found.append((section, rest[len(section) + 1 :], text))
    return found


def _convert(raw: Section, kind: type[Settings], *, section: str) -> Settings:
    fields = {field.name for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in raw.items():
        name = key if key in fields else next((n for n in fields if _without_unit(n) == key), None)
        if name is None:
            raise SettingsError(f"unknown setting {section}.{key}{_did_you_mean(key, fields)}")
        values[name] = _in_unit(value, name, where=f"{section}.{key}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"bad value in section [{section}]: {error}") from error


def _in_unit(value: Any, name: str, *, where: str) -> Any:
    unit = _unit(name)
    if unit is None or not isinstance(value, str) or value == "unlimited" or value.replace(".", "", 1).isdigit():
        return value
    try:
        duration_ms = parse_duration_ms(value)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    return duration_ms if unit == "ms" else duration_ms / 1000


def _unit(name: str) -> str | None:
    return next((unit for unit in ("ms", "s") if unit in name.split("_")), None)


def _without_unit(name: str) -> str:
    """`lateness_ms_max` is written `lateness_max = "1d"` in the file."""
    return "_".join(word for word in name.split("_") if word not in ("ms", "s"))


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"
