"""Log files: written by all workers, rotated by name, opened again on SIGUSR1."""

import http.client
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, Cluster

ACCESS = re.compile(r'INFO:     127\.0\.0\.1:\d+ - "GET /(\d+) HTTP/1\.1" 200 OK')


def start(cluster: Cluster, file: Path, *options: str) -> None:
    """Start a cluster that says nothing on its streams, and wait until all workers serve."""
    cluster.start("--error-log-file", str(file), *options, wait="")
    until_has(file, "Tercio serves")
    cluster.follow(is_up=True)
    cluster.wait("ClusterReady")


def ask(cluster: Cluster, numbers: range) -> None:
    client = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    try:
        for number in numbers:
            client.request("GET", f"/{number}")
            response = client.getresponse()
            response.read()
            assert response.status == 200
    finally:
        client.close()


def test_a_directory_that_is_not_there_is_a_configuration_error(cluster: Cluster) -> None:
    cluster.start("--access-log-file", "logs/access.log", wait="")
    assert cluster.wait_end() == 2
    assert "it cannot be opened; No such file" in "\n".join(cluster.lines)


def test_a_rotation_under_load_loses_and_splits_no_line(cluster: Cluster) -> None:
    logs = cluster.directory / "logs"
    logs.mkdir()
    access, error = logs / "access.log", logs / "error.log"
    start(cluster, error, "-w", "2", "--access-log-file", str(access))
    clients = [
        threading.Thread(target=ask, args=(cluster, range(each * 1000, each * 1000 + 700)))
        for each in range(4)
    ]
    for client in clients:
        client.start()
    for turn in range(5):
        for file in (access, error):
            file.rename(file.with_suffix(f".{turn}"))
        cluster.signal(signal.SIGUSR1)
        cluster.wait("LogsReopened", turn + 1)
    for client in clients:
        client.join()
    assert cluster.stop() == 0
    assert len(list(logs.iterdir())) == 12
    text = "".join(file.read_text() for file in logs.glob("access.*"))
    found = [ACCESS.fullmatch(line) for line in text.splitlines()]
    assert all(found)
    wanted = {each * 1000 + number for each in range(4) for number in range(700)}
    assert len(found) == len(wanted)
    assert {int(match[1]) for match in found if match} == wanted
    errors = "".join(file.read_text() for file in logs.glob("error.*"))
    assert "Tercio serves app:app" in errors
    assert "log files are opened again" in errors
    assert cluster.lines == []


def test_what_cannot_be_opened_again_goes_on_in_the_old_file(cluster: Cluster) -> None:
    access = cluster.directory / "access.log"
    cluster.start("-w", "1", "--access-log-file", "access.log")
    moved = access.rename(cluster.directory / "moved.log")
    access.mkdir()
    cluster.signal(signal.SIGUSR1)
    cluster.wait("LogFileKept")
    cluster.wait("WorkerWarning")
    cluster.wait_line("log lines go on into the old file: access.log: Is a directory")
    ask(cluster, range(1))
    until_has(moved, "/0 ")
    access.rmdir()
    cluster.signal(signal.SIGUSR1)
    cluster.wait("LogsReopened", 2)
    until_has_after_asking(cluster, access)


def until_has(file: Path, text: str) -> None:
    """Wait for a text in a file, which nothing announces."""
    for _ in range(int(PATIENCE * 50)):
        if file.exists() and text in file.read_text():
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{text!r} is not in {file}")


def until_has_after_asking(cluster: Cluster, file: Path) -> None:
    """The worker hears of it a moment after the primary: lines before that are in the old one."""
    for number in range(int(PATIENCE * 50)):
        ask(cluster, range(number, number + 1))
        if file.read_text():
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"nothing came into {file}")


def test_both_logs_in_one_file_keep_their_order(cluster: Cluster) -> None:
    start(cluster, cluster.directory / "all.log", "-w", "1", "--access-log-file", "all.log")
    ask(cluster, range(3))
    assert cluster.stop() == 0
    text = (cluster.directory / "all.log").read_text()
    assert text.index("is ready after") < text.index("GET /0") < text.index("GET /2")
    assert cluster.lines == []


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_a_dash_and_the_streams_names_are_the_streams(cluster: Cluster, name: str) -> None:
    cluster.start("-w", "1", "--access-log-file", name, "--error-log-file", name)
    ask(cluster, range(1))
    cluster.wait_line("GET /0")
    cluster.signal(signal.SIGUSR1)
    assert "there are no log files" in cluster.wait("LogsReopened")["text"]


def test_a_pipe_that_nobody_reads_is_refused_at_once(cluster: Cluster) -> None:
    os.mkfifo(cluster.directory / "pipe")
    cluster.start("--access-log-file", "pipe", wait="")
    assert cluster.wait_end() == 2
    assert "nobody reads this pipe" in "\n".join(cluster.lines)
