"""Settings that a search found for this catalogue, kept beside the model; the learner begins and refits with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from recommender.errors import SnapshotRefusedError
from recommender.model_parameters import ModelParameters
from recommender.models.ials import IalsParameters
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from recommender.snapshot import Snapshot

FILE = "tuned.json"

_log = structlog.get_logger(__name__)


class Tuned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found, model by model, and on what.

    Attributes:
        ials, session_knn, transitions: names and values of settings; what is not named stays as it was.
        found: per model a word on how: trials, score and data.
    """

    ials: dict[str, Any] = {}
    session_knn: dict[str, Any] = {}
    transitions: dict[str, Any] = {}
    found: dict[str, str] = {}


def read_tuned(folder: Path) -> Tuned:
    """What lies in `folder`; nothing found when there is no file.

    Raises:
        SnapshotRefusedError: the file is broken or names what is no setting; it says which.
    """
    path = folder / FILE
    try:
        tuned = msgspec.json.decode(path.read_bytes(), type=Tuned)
        tuned_parameters(ModelParameters(), tuned)
    except FileNotFoundError:
        return Tuned()
    except (msgspec.DecodeError, OSError) as error:
        raise SnapshotRefusedError(
            f"{path}: wanted settings that `afterclick evaluate search` found; got {error}; mend the file or delete it"
        ) from error
    return tuned


def tuned_or_none(folder: Path) -> Tuned:
    """As `read_tuned`, for a learner: a broken file is logged by name and counts as none, for learning must go on."""
    try:
        return read_tuned(folder)
    except SnapshotRefusedError as error:
        _log.error("settings found by a search are not used", reason=str(error))
        return Tuned()


def keep_tuned(folder: Path, model: str, settings: Mapping[str, Any], *, found: str) -> Path:
    """Write what was found for one model (a field of `Tuned`) beside what is there for the others."""
    there = read_tuned(folder)
    kept = msgspec.structs.replace(there, **{model: dict(settings)}, found={**there.found, model: found})
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{FILE}.aside"
    aside.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    aside.replace(folder / FILE)
    return folder / FILE


def tuned_parameters(parameters: ModelParameters, tuned: Tuned) -> ModelParameters:
    """`parameters` with what was found in place of what they say.

    Raises:
        msgspec.ValidationError: a name or value that is no setting's.
    """
    return msgspec.structs.replace(
        parameters,
        ials=_with(parameters.ials, tuned.ials, IalsParameters),
        session_knn=_with(parameters.session_knn, tuned.session_knn, SessionKnnParameters),
        transitions=_with(parameters.transitions, tuned.transitions, TransitionParameters),
    )


def with_tuned(snapshot: Snapshot, tuned: Tuned) -> Snapshot:
    """`snapshot` to be answered from as was found since; its vectors keep the settings they were fitted with."""
    vectors_kept = msgspec.structs.replace(tuned, ials={})
    parameters = tuned_parameters(snapshot.meta.parameters, vectors_kept)
    return msgspec.structs.replace(snapshot, meta=msgspec.structs.replace(snapshot.meta, parameters=parameters))


def _with(before: msgspec.Struct, found: Mapping[str, Any], kind: type[msgspec.Struct]) -> Any:
    known = {field.name for field in msgspec.structs.fields(kind)}
    if unknown := found.keys() - known:
        raise msgspec.ValidationError(f"unknown setting {', '.join(sorted(unknown))} of {kind.__name__}")
    return msgspec.convert({**msgspec.to_builtins(before), **found}, kind)
