import os
import subprocess
import sys

from loadtest.processes import cpu_between, cpu_seconds, pss_table, short_name, system_pids


def test_memory_is_listed_by_process_most_first() -> None:
    table = pss_table([os.getpid(), 1 << 30])

    assert [row.pid for row in table] == [os.getpid()]
    assert 0 < table[0].pss_bytes <= table[0].rss_bytes


def test_cpu_is_what_was_spent_in_between() -> None:
    rows = cpu_between({1: 2.0, 2: 1.0}, {1: 3.0, 3: 4.0}, seconds=2.0)

    assert [(row.pid, row.cpu_s, row.cores) for row in rows] == [(3, 4.0, 2.0), (1, 1.0, 0.5)]


def test_a_process_that_is_gone_is_left_out() -> None:
    assert list(cpu_seconds([os.getpid(), 1 << 30])) == [os.getpid()]


def test_finds_who_listens_and_not_the_driver_itself() -> None:
    listen = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())

        found = system_pids(f"http://127.0.0.1:{port}")

        server.communicate(timeout=30)
    assert found == (server.pid,)


def test_names_say_what_runs_without_folders() -> None:
    assert short_name(["/opt/x/.venv/bin/python3.11", "-u", "/opt/x/bin/afterclick", "worker"]) == "afterclick worker"
    assert short_name(["/usr/bin/valkey-server", "127.0.0.1:0"]) == "valkey-server 127.0.0.1:0"
