"""Fetch Apache Pulsar's server distribution once, check it, and unpack it into the cache."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from afterclick.errors import MissingProgramError, PartFailedError

PULSAR_VERSION = "4.0.8"
JAVA_MIN = 17
INSTALL_COMMAND = "apt-get install -y openjdk-17-jre-headless maven"

_ARTIFACT = f"org.apache.pulsar:pulsar-server-distribution:{PULSAR_VERSION}:tar.gz:bin"
_TARBALL = f"pulsar-server-distribution-{PULSAR_VERSION}-bin.tar.gz"
_SHA512 = (
    "65b769b10696cdfebf7fc5bcdc95dd663702e27051e616c1a13cb100e9127952"
    "5be35352171befe7b0011176330aab29bd0a6c8a0f2f0646641af46d2e33cbd6"
)
_FETCH_S_MAX = 900
_OUTPUT_CHARS = 2_000


def cache_dir() -> Path:
    """Where fetched servers lie: `AFTERCLICK_CACHE`, or `afterclick` in the user's cache folder."""
    if own := os.environ.get("AFTERCLICK_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afterclick"


def pulsar_home(cache: Path | None = None) -> Path:
    """The unpacked distribution, fetched the first time (245 MB). Safe to call from several processes at once.

    Raises:
        MissingProgramError: Java 17 or later, or (for the first time) Maven, is missing.
        PartFailedError: it could not be fetched, or is not what was pinned.
    """
    check_java()
    cache = cache or cache_dir()
    home = cache / f"apache-pulsar-{PULSAR_VERSION}"
    if home.is_dir():
        return home
    with _alone(cache):
        if not home.is_dir():
            _unpack(_fetch(cache / "download"), home)
    return home


def check_java() -> None:
    """Is there a Java that runs Pulsar?

    Raises:
        MissingProgramError: no Java, or one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise MissingProgramError(f"Pulsar needs Java {JAVA_MIN} or later, found none; install it: {INSTALL_COMMAND}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found.group(1)) < JAVA_MIN:
        version = said.splitlines()[0] if said else "nothing"
        raise MissingProgramError(
            f"Pulsar needs Java {JAVA_MIN} or later, {java} says {version}; install it: {INSTALL_COMMAND}"
        )


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One process at a time; the others wait and find it done."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingProgramError(f"fetching Pulsar needs Maven (mvn), found none; install it: {INSTALL_COMMAND}")
    command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise PartFailedError(f"Maven did not fetch {_ARTIFACT} within {_FETCH_S_MAX} s; try again") from error
    tarball = folder / _TARBALL
    if done.returncode != 0 or not tarball.exists():
        raise PartFailedError(f"Maven could not fetch {_ARTIFACT}:\n{(done.stdout + done.stderr)[-_OUTPUT_CHARS:]}")
    return tarball


def _unpack(tarball: Path, home: Path) -> None:
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    if digest != _SHA512:
        tarball.unlink()
        raise PartFailedError(f"{_TARBALL}: wanted SHA-512 {_SHA512}, got {digest}; it was deleted, nothing was run")
    aside = home.with_name(home.name + ".unpacking")
    shutil.rmtree(aside, ignore_errors=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(aside, filter="tar")
    # Renamed only when whole, so that a killed unpacking is never taken for the real thing.
    (aside / f"apache-pulsar-{PULSAR_VERSION}").rename(home)
    shutil.rmtree(aside)
    tarball.unlink()
