"""TLS: connections that cannot move, and certificates that change under them."""

import datetime
import http.client
import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.cluster.harness import PATIENCE, QUICK, Cluster, Event

AUTHORITY = trustme.CA()
DAY = datetime.timedelta(days=1)


def issue(name: str, days: float = 90.0) -> tuple[bytes, bytes]:
    """A chain and its key, for ``name`` and for the address that tests ask."""
    end = datetime.datetime.now(datetime.UTC) + days * DAY
    issued = AUTHORITY.issue_cert(name, "127.0.0.1", not_before=end - 400 * DAY, not_after=end)
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


def put(directory: Path, chain: bytes | None = None, key: bytes | None = None) -> None:
    """Put files in place by renaming them, as an ACME client does."""
    for name, content in (("chain", chain), ("key", key)):
        if content is not None:
            (directory / f"{name}.new").write_bytes(content)
            os.replace(directory / f"{name}.new", directory / name)


def age(directory: Path) -> None:
    """Let the files be old: a pair that does not fit is given two seconds to become one."""
    past = time.time() - 60
    for name in ("chain", "key"):
        os.utime(directory / name, (past, past))


class Clients:
    """Clients that ask over and over, kept-alive and not, and never ask anything again."""

    def __init__(self, port: int, kept: int = 4, fresh: int = 2) -> None:
        self.port = port
        self.failures: list[str] = []
        self.names: list[str] = []  # of the certificates that were shown
        self.answers = 0
        self._changed = threading.Condition()
        self._ends = False
        self._context = ssl.create_default_context()
        AUTHORITY.configure_trust(self._context)
        self._threads = [
            threading.Thread(target=self._run, args=(number < kept,), daemon=True)
            for number in range(kept + fresh)
        ]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends = True
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def wait_for(self, count: int) -> None:
        """Until so many more were answered."""
        enough = self.answers + count
        with self._changed:
            assert self._changed.wait_for(lambda: self.answers >= enough, PATIENCE), self.failures

    def wait_for_name(self, name: str) -> None:
        """Until a new connection was shown a certificate of this name."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.names[-1] == name, PATIENCE), self.names

    def _run(self, keeps: bool) -> None:
        connection: http.client.HTTPSConnection | None = None
        while not self._ends:
            try:
                if connection is None:
                    connection = self._connect()
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                closes = not keeps or response.getheader("connection") == "close"
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))
                closes = True
                time.sleep(0.01)
            if closes and connection is not None:
                connection.close()
                connection = None
            with self._changed:
                self.answers += 1
                self._changed.notify_all()
        if connection is not None:
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        made = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self._context
        )
        made.connect()
        assert isinstance(made.sock, ssl.SSLSocket)
        shown = made.sock.getpeercert()
        assert shown is not None
        names = [str(each[1]) for each in shown["subjectAltName"] if each[0] == "DNS"]
        with self._changed:
            self.names += names
            self._changed.notify_all()
        return made


Start = Callable[..., Cluster]


@pytest.fixture
def start(cluster: Cluster) -> Start:
    """A cluster of two workers with TLS, which looks for changed files four times a second."""

    def make(*options: str, chain: bytes, key: bytes) -> Cluster:
        put(cluster.directory, chain, key)
        return cluster.start(
            *QUICK, "-w", "2", "--ssl-certfile", "chain", "--ssl-keyfile", "key",
            "--ssl-check-interval", "0.25", *options,
        )  # fmt: skip

    return make


def complains(of: str, event: Event) -> bool:
    """Whether a worker says that it keeps the old pair, and why."""
    return "the old one stays" in str(event) and of in str(event).lower()


def test_no_request_fails_while_pairs_are_swapped_and_releases_are_loaded(start: Start) -> None:
    chain, key = issue("first.test")
    cluster = start(chain=chain, key=key)
    pids = cluster.pids()
    with Clients(cluster.port) as clients:
        clients.wait_for(50)
        for name in ("second.test", "third.test"):
            chain, key = issue(name)
            put(cluster.directory, chain)
            put(cluster.directory, key=key)
            clients.wait_for_name(name)
        assert cluster.pids() == pids, "a new certificate needs no new worker"
        before = set(cluster.pids().values())
        cluster.write_app(cluster.release("two"))
        cluster.ask("reload")
        cluster.wait("ReloadCommitted")
        cluster.until(lambda status: len(status["workers"]) == 2)
        assert not before & set(cluster.pids().values())
        clients.wait_for(50)
    assert clients.failures == []
    assert clients.answers > 150


def test_a_pair_that_does_not_fit_keeps_the_old_one(start: Start) -> None:
    chain, key = issue("first.test")
    cluster = start(chain=chain, key=key)
    with Clients(cluster.port, kept=0, fresh=1) as clients:
        clients.wait_for(1)
        bad = (
            ({"chain": b"-----BEGIN CERTIFICATE-----\nnonsense\n", "key": None}, "cannot be used"),
            ({"chain": issue("other.test")[0], "key": None}, "mismatch"),
            ({"chain": None, "key": issue("other.test")[1]}, "mismatch"),
        )
        for files, said in bad:
            since = cluster.newest()
            put(cluster.directory, chain, key)
            put(cluster.directory, **files)
            age(cluster.directory)
            cluster.wait(partial(complains, said), since=since)
            clients.wait_for(5)
            assert set(clients.names) == {"first.test"}
        # Mended, it is taken.
        put(cluster.directory, *issue("second.test"))
        clients.wait_for_name("second.test")
    assert clients.failures == []


def test_an_expired_pair_does_not_replace_one_that_is_valid(start: Start) -> None:
    chain, key = issue("first.test")
    cluster = start(chain=chain, key=key)
    put(cluster.directory, *issue("late.test", days=-1))
    age(cluster.directory)
    cluster.wait(lambda event: "it has expired" in str(event))
    with Clients(cluster.port, kept=0, fresh=1) as clients:
        clients.wait_for(5)
    assert set(clients.names) == {"first.test"}


def test_half_of_a_pair_is_waited_with_and_is_no_fault(start: Start) -> None:
    chain, key = issue("first.test")
    cluster = start(chain=chain, key=key)
    with Clients(cluster.port, kept=0, fresh=1) as clients:
        clients.wait_for(1)
        chain, key = issue("second.test")
        put(cluster.directory, chain)
        now = time.monotonic()
        clients.wait_for(20)  # a look may come now
        has_waited = time.monotonic() - now < 1.5
        put(cluster.directory, key=key)
        clients.wait_for_name("second.test")
    complaints = [event for event in cluster.events if complains("", event)]
    assert complaints == [] or not has_waited  # on a machine that slept for two seconds


def test_the_end_of_the_certificate_is_known_and_told_in_time(start: Start) -> None:
    chain, key = issue("soon.test", days=10)
    cluster = start(chain=chain, key=key)
    warning = cluster.wait("CertificateExpires")
    assert 9.5 < warning["days"] < 10.1
    end = time.time() + 10 * 86_400
    for worker in cluster.status()["workers"]:
        assert abs(worker["certificate_expires"] - end) < 3600

    put(cluster.directory, *issue("later.test", days=80))
    end = time.time() + 80 * 86_400
    cluster.until(
        lambda status: all(
            abs(worker["certificate_expires"] - end) < 3600 for worker in status["workers"]
        )
    )
    metrics = cluster.tercio("metrics").stdout
    found = re.search(r"^tercio_tls_certificate_expiry_time_seconds (\S+)$", metrics, re.M)
    assert found is not None, metrics
    assert abs(float(found[1]) - end) < 3600
    shown = cluster.tercio("status").stdout
    assert re.search(r"certificate until \d{4}-\d\d-\d\d \d\d:\d\d UTC, in ", shown), shown
    assert len(cluster.of("CertificateExpires")) == 1
