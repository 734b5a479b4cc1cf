"""The metadata layer: every topic, schema, feature and model is in it, and no consumer names what is not declared."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import recommender
from afterclick.__main__ import app
from afterclick.feature_consumers import consumers, feature_names, undeclared
from afterclick.metadata import SCHEMAS, metadata
from feature_store.registry import REGISTRY
from ingest.topic_notes import TOPIC_NOTES
from ingest.topics import ALL_TOPICS
from recommender.model_notes import MODEL_NOTES


def test_no_module_names_a_feature_that_is_not_declared() -> None:
    assert undeclared(REGISTRY) == {}


def test_no_model_is_said_to_be_made_from_what_does_not_exist() -> None:
    topics = {topic.name for topic in ALL_TOPICS}

    assert {source for note in MODEL_NOTES for source in note.made_from if source not in REGISTRY} <= topics


def test_a_feature_named_in_a_module_is_found() -> None:
    source = 'READ = ("visitor:view_1h", "item:*")\nprint("visitor: view", f"item:{READ}")'

    assert feature_names(source, ["visitor", "item"]) == {"visitor:view_1h", "item:*"}


def test_the_recommender_and_the_dashboard_are_told_as_consumers() -> None:
    read_by = consumers(REGISTRY)

    assert "recommender.history" in read_by["visitor:event_items"]
    assert "api.dashboard" in read_by["event_name:view_item_1h"]


def test_every_topic_has_its_note_and_every_note_its_schema() -> None:
    assert {note.topic for note in TOPIC_NOTES} == set(ALL_TOPICS)
    assert {note.schema for note in TOPIC_NOTES} == {schema.name for schema in SCHEMAS}


def test_every_model_has_its_note() -> None:
    folder = Path(recommender.__file__).parent
    files = [*(folder / "models").glob("*.py"), *(folder / "ranker").glob("*.py")]
    names = {name for file in files for name in re.findall(r'^    name = "(.+)"', file.read_text(), re.MULTILINE)}

    assert names == {note.name for note in MODEL_NOTES}


def test_every_row_says_owner_source_and_consumers() -> None:
    for rows in metadata(REGISTRY).values():
        assert rows
        for row in rows:
            assert row["owner"]
            assert row["description"]
            assert {"name", "source", "consumers"} <= row.keys()


@pytest.mark.parametrize("kind", ["topics", "schemas", "features", "models"])
def test_metadata_prints_one_kind(kind: str) -> None:
    printed = CliRunner().invoke(app, ["metadata", kind]).output

    assert printed.startswith(f"{kind} (")
    assert len(printed.splitlines()) > 4


def test_lineage_leads_from_events_to_modules_and_models() -> None:
    printed = CliRunner().invoke(app, ["features", "lineage", "visitor:event_items"]).output

    assert "topic events" in printed
    assert "recommender.history" in printed
    assert "session-knn" in printed


def test_an_unknown_feature_is_told_without_a_traceback() -> None:
    result = CliRunner().invoke(app, ["features", "describe", "visitor:nothing"])

    assert result.exit_code == 2
    assert "wanted one that is declared; got visitor:nothing" in result.output
