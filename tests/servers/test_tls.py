"""TLS is served, and certificates that change are taken if they are any good."""

import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import LIMIT, Client, Rig

pytestmark = pytest.mark.timeout(30)

AUTHORITY = trustme.CA()


def write(directory: Path, name: str) -> None:
    """Put a certificate for ``name`` in place, as an ACME client does: by renaming."""
    issued = AUTHORITY.issue_cert(name, "127.0.0.1")
    for file, blob in (("key", issued.private_key_pem), ("chain", issued.cert_chain_pems[0])):
        blob.write_to_path(str(directory / f"{file}.new"))
        os.replace(directory / f"{file}.new", directory / file)


def options(directory: Path, **more: object) -> dict[str, object]:
    files = {"ssl_certfile": str(directory / "chain"), "ssl_keyfile": str(directory / "key")}
    return files | {"ssl_check_interval": 0.25} | more


def names(rig: Rig) -> list[str]:
    """The names in the certificate that the worker shows."""
    with secure(rig) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        client.ask("/who")
        assert client.answer()[0] == 200
        certificate = client.sock.getpeercert()
        assert certificate is not None
        return [name for kind, name in certificate["subjectAltName"] if kind == "DNS"]  # type: ignore[misc,str-unpack]


def secure(rig: Rig) -> Client:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    plain = socket.create_connection(rig.address, LIMIT)
    return Client(rig.address, context.wrap_socket(plain, server_hostname="127.0.0.1"))


def test_certificates_are_read_again(loop: str, tmp_path: Path) -> None:
    write(tmp_path, "first.test")
    with Rig(options=options(tmp_path, loop=loop)) as rig:
        rig.serving()
        assert names(rig) == ["first.test"]

        (tmp_path / "chain").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        note = rig.wait_for("note")
        assert note["level"] == "error"
        assert "the old one stays" in note["text"]
        assert names(rig) == ["first.test"]

        write(tmp_path, "second.test")
        while rig.wait_for("note")["level"] != "info":
            pass  # it may have looked between the two files
        assert names(rig) == ["second.test"]


def test_a_drain_waits_for_a_handshake(loop: str, tmp_path: Path) -> None:
    write(tmp_path, "first.test")
    with Rig(options=options(tmp_path, loop=loop)) as rig:
        rig.serving()
        plain = socket.create_connection(rig.address, LIMIT)
        rig.count_accepted(1)
        rig.drain()
        rig.settle()
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        with Client(rig.address, context.wrap_socket(plain, server_hostname="127.0.0.1")) as client:
            client.ask()
            assert client.answer()[0] == 200
            assert client.headers["connection"] == "close"
        assert rig.exit().code == 0


def test_a_client_that_speaks_no_tls_harms_nobody(loop: str, tmp_path: Path) -> None:
    write(tmp_path, "first.test")
    with Rig(options=options(tmp_path, loop=loop)) as rig:
        with rig.serving().connect() as client:
            client.ask()
            while client.sock.recv(100):
                pass  # an alert, then the end
        assert names(rig) == ["first.test"]
        rig.count(Field.CONNECTIONS, 0)


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with Rig(options=options(tmp_path)) as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "options"
        assert "--ssl-certfile" in failed["error"]
