"""Make a TLS context from the options, and tell an application what TLS has agreed on.

The second is the ASGI extension `tls`. It is made once for a connection.
"""

import importlib
import ssl
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tercio.config import Config

_VERSIONS: Final = {"SSLv3": 0x0300, "TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303,
                    "TLSv1.3": 0x0304}  # fmt: skip

# RFC 4514, section 3; what is not named there goes by OpenSSL's name.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}

_END: Final = "-----END CERTIFICATE-----\n"


class Context(ssl.SSLContext):
    """A context that knows what it was made of."""

    server_cert: str | None = None
    """The certificate that clients are shown, as PEM."""

    @cached_property
    def cipher_suites(self) -> dict[str, int]:
        """Names as `SSLObject.cipher` gives them, and the numbers of the standard."""
        return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in self.get_ciphers()}


def context(config: Config) -> Context | None:
    """The context that the options ask for; None if they ask for no TLS.

    `OSError` (of which `ssl.SSLError` is one) or `ValueError` if the files are no good.
    """
    if not (config.ssl_certfile or config.ssl_keyfile):
        return None
    if not config.ssl_certfile:
        raise ValueError("there is a key and no certificate")
    made = Context(ssl.PROTOCOL_TLS_SERVER)

    def password() -> str:
        # Without this OpenSSL would ask at the terminal, and wait.
        if not config.ssl_keyfile_password:
            raise ValueError("the private key is encrypted (see --ssl-keyfile-password)")
        return config.ssl_keyfile_password

    made.load_cert_chain(config.ssl_certfile, config.ssl_keyfile or None, password)
    made.server_cert = _first_certificate(config.ssl_certfile)
    made.verify_mode = ssl.VerifyMode(config.ssl_cert_reqs)
    if config.ssl_ca_certs:
        made.load_verify_locations(config.ssl_ca_certs)
    if config.ssl_ciphers:
        made.set_ciphers(config.ssl_ciphers)
    # A client that offers no HTTP/1.1 gets no answer to its offer, as if there was no ALPN.
    made.set_alpn_protocols(["http/1.1"])
    # TLS 1.2 lets a client ask for handshake after handshake, each of them dear for the server.
    made.options |= ssl.OP_NO_RENEGOTIATION
    return made


def expiry(file: str) -> int:
    """When the first certificate in ``file`` ends, in Unix time; 0 if that cannot be told."""
    try:
        # No public call reads a certificate that is not a peer's; this one is in every CPython.
        decode: Any = importlib.import_module("_ssl")._test_decode_cert
        return int(ssl.cert_time_to_seconds(decode(file)["notAfter"]))
    except (AttributeError, KeyError, OSError, ValueError):  # ssl.SSLError is an OSError
        return 0


def extension(connection: ssl.SSLObject | ssl.SSLSocket) -> dict[str, Any]:
    """``scope["extensions"]["tls"]`` for the connections of a context of ours."""
    made = connection.context
    known = made if isinstance(made, Context) else None
    cipher = connection.cipher()
    chain: list[str] = []
    name: str | None = None
    # No certificate was asked for: nothing to look up.
    if made.verify_mode is not ssl.CERT_NONE and (der := connection.getpeercert(True)):
        chain = [ssl.DER_cert_to_PEM_cert(each) for each in _chain(connection) or [der]]
        name = _distinguished(connection.getpeercert())
    return {
        "server_cert": known.server_cert if known else None,
        "client_cert_chain": chain,
        "client_cert_name": name,
        # A certificate that does not verify ends the handshake, so nobody ever sees one here.
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version() or ""),
        "cipher_suite": known.cipher_suites.get(cipher[0]) if known and cipher else None,
    }


def _chain(connection: ssl.SSLObject | ssl.SSLSocket) -> list[bytes]:
    """Every certificate that the client sent; before Python 3.13 only the first is to be had."""
    get = getattr(connection, "get_unverified_chain", None)
    return list(get()) if get is not None else []


def _first_certificate(file: str) -> str | None:
    pem = Path(file).read_text("ascii", "replace")
    begin = pem.find("-----BEGIN CERTIFICATE-----")
    end = pem.find(_END.strip(), begin)
    return pem[begin:end] + _END if 0 <= begin < end else None


def _distinguished(certificate: Any) -> str:
    """The subject in the notation of RFC 4514, which begins with the last part."""
    # Any: typeshed has no type for the nested tuples, one set of pairs for each part.
    parts = reversed(certificate.get("subject", ()))
    return ",".join(
        "+".join(f"{_SHORT_NAMES.get(key, key)}={_escaped(value)}" for key, value in pairs)
        for pairs in parts
    )


def _escaped(value: str) -> str:
    text = "".join(f"\\{each}" if each in ',+"\\<>;' else each for each in value)
    text = text.replace("\0", "\\00")
    if text.endswith(" "):
        text = f"{text[:-1]}\\ "
    return f"\\{text}" if text.startswith((" ", "#")) else text
