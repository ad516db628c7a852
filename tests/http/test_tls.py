"""Contexts made from the options, and what an application learns of a handshake."""

import ssl
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tercio.config import Config
from tercio.http import tls

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("127.0.0.1", organization_name="Ours")
STRANGER = trustme.CA()


class Files(NamedTuple):
    chain: str
    key: str
    locked: str  # the key again, with the password "secret"
    authority: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("tls")
    names = [directory / name for name in ("chain", "key", "locked", "authority")]
    SERVER.cert_chain_pems[0].write_to_path(str(names[0]))
    SERVER.private_key_pem.write_to_path(str(names[1]))
    key = serialization.load_pem_private_key(SERVER.private_key_pem.bytes(), None)
    names[2].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    AUTHORITY.cert_pem.write_to_path(str(names[3]))
    return Files(*map(str, names))


def context(files: Files, **options: Any) -> tls.Context:
    values = {"ssl_certfile": files.chain, "ssl_keyfile": files.key} | options
    made = tls.context(Config(**values))
    assert made is not None
    return made


def client_context(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    AUTHORITY.configure_trust(made)
    if certificate is not None:
        certificate.configure_cert(made)
    return made


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """The two ends of a connection: ours and the client's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    done: set[int] = set()
    for _ in range(10):
        for end in (theirs, ours):
            try:
                end.do_handshake()
                done.add(id(end))
            except ssl.SSLWantReadError:
                pass
    assert len(done) == 2
    return ours, theirs


# Contexts


def test_no_files_mean_no_tls() -> None:
    assert tls.context(Config()) is None


def test_a_client_that_trusts_the_authority_connects(files: Files) -> None:
    ours, theirs = handshake(context(files), client_context())
    theirs.write(b"hello")
    assert ours.read(5) == b"hello"


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "http/1.1"),
        (["h2"], None),
        ([], None),
    ],
)
def test_http_1_1_is_agreed_on_where_it_is_offered(
    files: Files, offer: list[str], chosen: str | None
) -> None:
    client = client_context()
    if offer:
        client.set_alpn_protocols(offer)
    ours, theirs = handshake(context(files), client)
    assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == chosen


def test_the_key_may_be_in_the_file_of_the_certificate(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.write_text(Path(files.key).read_text() + Path(files.chain).read_text())
    made = tls.context(Config(ssl_certfile=str(both)))
    assert made is not None
    handshake(made, client_context())
    assert made.server_cert == Path(files.chain).read_text()


def test_a_key_with_a_password_is_opened(files: Files) -> None:
    handshake(
        context(files, ssl_keyfile=files.locked, ssl_keyfile_password="secret"), client_context()
    )


def test_old_versions_of_tls_are_refused(files: Files) -> None:
    assert context(files).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_no_client_asks_for_a_second_handshake(files: Files) -> None:
    assert context(files).options & ssl.OP_NO_RENEGOTIATION


def test_only_the_ciphers_that_are_named_are_spoken(files: Files) -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    ours, _ = handshake(context(files, ssl_ciphers="ECDHE+AES256"), client)
    cipher = ours.cipher()
    assert cipher is not None
    assert "AES256" in cipher[0]
    client.set_ciphers("ECDHE+AES128")
    with pytest.raises(ssl.SSLError):
        handshake(context(files, ssl_ciphers="ECDHE+AES256"), client)


def test_a_client_without_a_certificate_is_refused_where_one_is_required(files: Files) -> None:
    server = context(files, ssl_ca_certs=files.authority, ssl_cert_reqs=2)
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells the client after its handshake
    with pytest.raises(ssl.SSLError):
        handshake(server, client)


def test_a_certificate_of_a_stranger_is_refused_even_where_it_is_optional(files: Files) -> None:
    server = context(files, ssl_ca_certs=files.authority, ssl_cert_reqs=1)
    client = client_context(STRANGER.issue_cert("somebody.test"))
    with pytest.raises(ssl.SSLError):
        handshake(server, client)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ssl_certfile": "/nowhere/chain"}, "No such file"),
        ({"ssl_keyfile": "/nowhere/key"}, "No such file"),
        ({"ssl_certfile": ""}, "no certificate"),
        ({"ssl_ca_certs": "/nowhere/authority"}, "No such file"),
        ({"ssl_ciphers": "nonsense"}, "cipher"),
    ],
)
def test_what_is_no_good_is_an_error(files: Files, options: dict[str, str], says: str) -> None:
    with pytest.raises((OSError, ValueError), match=says):
        context(files, **options)


def test_files_that_do_not_fit_are_errors(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other"
    STRANGER.issue_cert("127.0.0.1").private_key_pem.write_to_path(str(other))
    with pytest.raises(ssl.SSLError):
        context(files, ssl_keyfile=str(other))
    other.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    with pytest.raises(ssl.SSLError):
        context(files, ssl_certfile=str(other))
    other.write_text("")
    with pytest.raises(ssl.SSLError):
        context(files, ssl_certfile=str(other))


def test_an_encrypted_key_without_its_password_is_an_error_and_no_question(files: Files) -> None:
    with pytest.raises(ValueError, match="--ssl-keyfile-password"):
        context(files, ssl_keyfile=files.locked)
    with pytest.raises(ssl.SSLError):
        context(files, ssl_keyfile=files.locked, ssl_keyfile_password="wrong")


# The extension


def test_an_application_learns_what_was_agreed_on(files: Files) -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    told = tls.extension(handshake(context(files), client)[0])
    assert told.pop("cipher_suite") in (0xC02F, 0xC02B)
    assert told == {
        "server_cert": Path(files.chain).read_text(),
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0303,
    }


def test_tls_1_3_has_numbers_of_its_own(files: Files) -> None:
    told = tls.extension(handshake(context(files), client_context())[0])
    assert told["tls_version"] == 0x0304
    assert 0x1301 <= told["cipher_suite"] <= 0x1305


def test_an_application_learns_who_the_client_is(files: Files) -> None:
    server = context(files, ssl_ca_certs=files.authority, ssl_cert_reqs=2)
    certificate = AUTHORITY.issue_cert(
        "client.test",
        common_name="Müller, R+D",
        organization_name="#1",
        organization_unit_name=" x ",
    )
    told = tls.extension(handshake(server, client_context(certificate))[0])
    assert told["client_cert_name"] == "CN=Müller\\, R\\+D,OU=\\ x\\ ,O=\\#1"
    chain = told["client_cert_chain"]
    assert ssl.PEM_cert_to_DER_cert(chain[0]) == ssl.PEM_cert_to_DER_cert(
        certificate.cert_chain_pems[0].bytes().decode()
    )
    assert told["client_cert_error"] is None


def test_an_optional_certificate_may_be_missing(files: Files) -> None:
    server = context(files, ssl_ca_certs=files.authority, ssl_cert_reqs=1)
    told = tls.extension(handshake(server, client_context())[0])
    assert (told["client_cert_chain"], told["client_cert_name"]) == ([], None)


def test_a_context_of_somebody_tells_less() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(server)
    told = tls.extension(handshake(server, client_context())[0])
    assert told["server_cert"] is None
    assert told["cipher_suite"] is None
    assert told["tls_version"] == 0x0304
