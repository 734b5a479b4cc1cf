"""`afterclick features`, `afterclick metadata`: what is declared, what it means, where it comes from, who reads it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afterclick.console import errors_without_traceback, say

if TYPE_CHECKING:
    from feature_store.definitions import Registry

app = typer.Typer(help="The features: what is declared, what it means, where it comes from.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option(help="Settings, a TOML file; names the shop's own features.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_features(
    entity: Annotated[str | None, typer.Option(help="Only features of this entity.")] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Every feature with its type and meaning."""
    import msgspec

    with errors_without_traceback(*_errors()):
        features = [f for f in _registry(config).features if entity in {None, f.entity}]
        if json:
            say(msgspec.json.encode(features).decode())
            return
        for feature in features:
            say(f"{feature.full_name:32} {feature.dtype:13} {feature.description}")


@app.command()
def describe(name: Annotated[str, typer.Argument(help="entity:name.")], config: Config = None) -> None:
    """All that is declared of one feature."""
    with errors_without_traceback(*_errors()):
        registry = _registry(config)
        feature = registry.declared(name)
        window = "none" if feature.window_ms is None else f"{feature.window_ms} ms"
        slide = feature.aggregation.slide_ms
        for key, told in (
            ("feature", feature.full_name),
            ("description", feature.description),
            ("type", feature.dtype),
            ("unit", feature.unit or "none"),
            ("default", feature.default),
            ("aggregation", f"{feature.aggregation.function} of {feature.aggregation.column}"),
            ("window", window),
            ("slides", f"every {slide} ms" if slide else "with every millisecond"),
            ("edge", feature.edge),
            ("view", _view_of(registry, name)),
            ("owner", feature.owner),
            ("tags", ", ".join(feature.tags) or "none"),
        ):
            say(f"{key:12} {told}")


@app.command()
def lineage(name: Annotated[str, typer.Argument(help="entity:name.")], config: Config = None) -> None:
    """From the events that a feature is made of to the modules and models that read it."""
    from afterclick.feature_consumers import consumers
    from recommender.model_notes import MODEL_NOTES

    with errors_without_traceback(*_errors()):
        registry = _registry(config)
        feature = registry.declared(name)
        say(f"events       {', '.join(feature.events) or 'none of its own'} (topic events)")
        say(f"view         {_view_of(registry, name)}")
        say(f"feature      {feature.full_name}: {feature.aggregation.function} of {feature.aggregation.column}")
        say(f"modules      {', '.join(consumers(registry).get(feature.full_name, ['none']))}")
        models = [note.name for note in MODEL_NOTES if feature.full_name in note.made_from]
        say(f"models       {', '.join(models) or 'none'}")


def metadata(
    kind: Annotated[str | None, typer.Argument(help="topics, schemas, features or models; all without it.")] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Topics, schemas, features and models, each with its owner, source and consumers."""
    import msgspec

    from afterclick.metadata import metadata as all_metadata

    with errors_without_traceback(*_errors()):
        found = all_metadata(_registry(config))
        if kind is not None and kind not in found:
            raise typer.BadParameter(f"wanted one of {', '.join(found)}; got {kind}")
        shown = {name: rows for name, rows in found.items() if kind in {None, name}}
        if json:
            say(msgspec.json.encode(shown).decode())
            return
        for name, rows in shown.items():
            say(f"{name} ({len(rows)})")
            for row in rows:
                say("  " + "  ".join(f"{key}={told}" if key != "name" else told for key, told in row.items()))


def _view_of(registry: "Registry", name: str) -> str:
    asked = registry.asked.get(name)
    if asked is not None:
        return f"none: computed on demand from {', '.join((*asked.inputs, 'the request'))}"
    view, _ = registry.find(name)
    return f"{view.name} ({view.description}), kept {view.ttl_ms // 86_400_000} days"


def _errors() -> tuple[type[Exception], ...]:
    from feature_store.errors import FeatureStoreError

    return (FeatureStoreError,)


def _registry(config: Path | None) -> "Registry":
    """The built-in features and those of the shop that the settings name."""
    from afterclick.settings import load_settings
    from feature_store.plugins import load_plugin

    return load_plugin(load_settings(config).store.features_module).registry
