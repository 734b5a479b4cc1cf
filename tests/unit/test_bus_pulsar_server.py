"""Fetching and configuring Pulsar: what is missing is named, what is not the pinned thing is not run."""

import os
from pathlib import Path

import pytest

from afterclick.errors import MissingProgramError, PartFailedError
from afterclick.pulsar_download import cache_dir, check_java, pulsar_home
from afterclick.pulsar_server import PulsarServer, pulsar_status, stop_pulsar


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin"


def test_a_missing_java_is_named_with_the_command_that_installs_it(programs: Path) -> None:
    with pytest.raises(MissingProgramError, match="apt-get install -y openjdk-17-jre-headless maven"):
        check_java()


@pytest.mark.parametrize("version", ["11.0.22", "1.8.0_402"])
def test_an_old_java_is_named(programs: Path, version: str) -> None:
    _program(programs, "java", f"echo 'openjdk version \"{version}\" 2024-01-16' >&2")

    with pytest.raises(MissingProgramError, match="17 or later"):
        check_java()


@pytest.mark.parametrize("version", ["17.0.15", "25"])
def test_a_new_java_will_do(programs: Path, version: str) -> None:
    _program(programs, "java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")

    check_java()


def test_a_missing_maven_is_named(programs: Path, tmp_path: Path) -> None:
    _program(programs, "java", "echo 'openjdk version \"17\"' >&2")

    with pytest.raises(MissingProgramError, match="mvn"):
        pulsar_home(tmp_path / "cache")


def test_another_tarball_than_the_pinned_one_is_deleted_and_not_run(programs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tarball = cache / "download" / "pulsar-server-distribution-4.0.8-bin.tar.gz"
    _program(programs, "java", "echo 'openjdk version \"17\"' >&2")
    _program(programs, "mvn", f"/bin/mkdir -p {tarball.parent}; echo forged > {tarball}")

    with pytest.raises(PartFailedError, match="SHA-512"):
        pulsar_home(cache)
    assert not tarball.exists()
    assert not list(cache.glob("apache-pulsar*"))


def test_what_maven_says_is_passed_on(programs: Path, tmp_path: Path) -> None:
    _program(programs, "java", "echo 'openjdk version \"17\"' >&2")
    _program(programs, "mvn", "echo 'no such repository'; exit 1")

    with pytest.raises(PartFailedError, match="no such repository"):
        pulsar_home(tmp_path / "cache")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("AFTERCLICK_CACHE", raising=False)
    assert cache_dir() == Path("/x/afterclick")

    monkeypatch.setenv("AFTERCLICK_CACHE", "/y")
    assert cache_dir() == Path("/y")


def test_the_configuration_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    server = PulsarServer(tmp_path, 16650, 18080, conf={"keepAliveIntervalSeconds": "7"})

    lines = server.configuration("# a template\nbindAddress=0.0.0.0\nbrokerServicePort=6650\n").splitlines()

    wanted = {
        "bindAddress=127.0.0.1",
        "advertisedAddress=127.0.0.1",
        "listeningInterface=lo",
        "brokerServicePort=16650",
        "webServicePort=18080",
        "keepAliveIntervalSeconds=7",
        "managedLedgerDefaultMarkDeleteRateLimit=100",
    }
    assert wanted <= set(lines)
    assert "bindAddress=0.0.0.0" not in lines


def test_a_pid_that_another_program_has_by_now_is_not_taken_for_pulsar(tmp_path: Path) -> None:
    (tmp_path / "pulsar.json").write_text(f'{{"pid":{os.getpid()},"broker_port":1,"admin_port":2}}')

    assert pulsar_status(tmp_path) is None
    assert stop_pulsar(tmp_path) is False
