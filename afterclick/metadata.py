"""The metadata layer: topics, schemas, features and models in one place, with owner, source and consumers."""

from typing import Literal

from afterclick.feature_consumers import consumers
from api.answers import ServedAnswer
from feature_store.definitions import Registry
from ingest.topic_notes import SCHEMAS as INGEST_SCHEMAS
from ingest.topic_notes import TOPIC_NOTES, Schema
from recommender.model_notes import MODEL_NOTES
from recommender.model_notes import SCHEMAS as RECOMMENDER_SCHEMAS

Kind = Literal["topics", "schemas", "features", "models"]
Row = dict[str, str]

SCHEMAS = (
    *INGEST_SCHEMAS,
    *RECOMMENDER_SCHEMAS,
    Schema("served-answer", 1, ServedAnswer, "api", "one answer, as it was served"),
)


def metadata(registry: Registry) -> dict[Kind, list[Row]]:
    """Every topic, schema, feature and model as a row of texts."""
    return {"topics": _topics(), "schemas": _schemas(), "features": _features(registry), "models": _models()}


def _topics() -> list[Row]:
    return [
        {
            "name": note.topic.name,
            "kind": note.topic.kind,
            "key": note.topic.key,
            "kept": "for ever" if note.topic.retention_ms is None else f"{note.topic.retention_ms // 86_400_000} days",
            "schema": note.schema,
            "owner": note.owner,
            "source": ", ".join(note.written_by),
            "consumers": ", ".join(note.read_by),
            "description": note.description,
        }
        for note in TOPIC_NOTES
    ]


def _schemas() -> list[Row]:
    return [
        {
            "name": schema.name,
            "version": str(schema.version),
            "owner": schema.owner,
            "source": ", ".join(note.topic.name for note in TOPIC_NOTES if note.schema == schema.name),
            "consumers": ", ".join(
                sorted({part for n in TOPIC_NOTES if n.schema == schema.name for part in n.read_by})
            ),
            "fields": ", ".join(schema.fields),
            "compatibility": schema.compatibility,
            "description": schema.description,
        }
        for schema in SCHEMAS
    ]


def _features(registry: Registry) -> list[Row]:
    read_by = consumers(registry)
    return [
        {
            "name": feature.full_name,
            "type": feature.dtype,
            "owner": feature.owner,
            "source": ", ".join(feature.events) or "the request",
            "consumers": ", ".join(read_by.get(feature.full_name, ())),
            "description": feature.description,
        }
        for feature in registry.features
    ]


def _models() -> list[Row]:
    return [
        {
            "name": note.name,
            "owner": note.owner,
            "source": ", ".join(note.made_from),
            "learns": note.learns,
            "consumers": ", ".join(note.used_by),
            "description": note.description,
        }
        for note in MODEL_NOTES
    ]
