"""Which modules name which features: told by their own source, so that no list of consumers can grow stale."""

import ast
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from feature_store.definitions import Registry

ROOMS = ("ingest", "recommender", "api", "afterclick", "loadtest")
"""Whose modules may be consumers; the feature store itself is none."""


def feature_names(source: str, entities: Iterable[str]) -> set[str]:
    """Every text in `source` that names a feature of one of `entities`, as `entity:name` or `entity:*`."""
    pattern = re.compile(rf"(?:{'|'.join(entities)}):(?:[a-z][a-z0-9_]*|\*)")
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value)
    }


def consumers(registry: Registry) -> dict[str, list[str]]:
    """Feature name -> modules that name it; `entity:*` counts for every feature of the entity.

    Names that are not declared are in it too: `undeclared` tells them.
    """
    found: dict[str, list[str]] = {}
    declared = [feature.full_name for feature in registry.features]
    for module, source in _sources():
        for name in feature_names(source, registry.entities):
            prefix = name.removesuffix("*")
            named = [full_name for full_name in declared if full_name.startswith(prefix)] if prefix != name else [name]
            for full_name in named:
                found.setdefault(full_name, []).append(module)
    return {name: sorted(set(modules)) for name, modules in sorted(found.items())}


def undeclared(registry: Registry) -> dict[str, list[str]]:
    """What modules name and nobody declared."""
    return {name: modules for name, modules in consumers(registry).items() if name not in registry}


def _sources() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        spec = find_spec(room)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                name = ".".join((room, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
                yield name, path.read_text()
