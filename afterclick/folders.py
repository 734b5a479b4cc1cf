"""Make the folders that a system keeps its files in, or say plainly why there is none."""

from pathlib import Path

from afterclick.errors import SettingsError


def made_folder(path: Path) -> Path:
    """`path`, with all folders above it.

    Raises:
        SettingsError: something else stands there, or it may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{path} must be a folder that can be written to; got: {error.strerror}; "
            "move away what stands there, or choose another --data-dir"
        ) from error
    return path
