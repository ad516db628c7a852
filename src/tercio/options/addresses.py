"""The options of addresses: what is listened on, and with which certificates.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

ADDRESS = Group("Addresses", "Opened once and kept for the cluster's life.")
TLS = Group("TLS", "Certificates are read again when their files change.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class AddressOptions:
    """Where clients come in."""

    host: str = ADDRESS.option(
        "127.0.0.1", subjects.host(), "Listen on this host.", instead=_FIXED, common=True
    )
    port: int = ADDRESS.option(
        8000,
        kinds.whole(0, 65535, zero="any free port", metavar="PORT"),
        "Listen on this port; 0 picks a free one and reports it.",
        env=("PORT",),
        instead=_FIXED,
        common=True,
    )
    bind: tuple[str, ...] = ADDRESS.option(
        (),
        kinds.several(subjects.address()),
        "Listen here instead: HOST:PORT, [IPV6]:PORT, unix:PATH, fd:N or systemd. Repeatable.",
        flags=("-b",),
        instead=_FIXED,
        common=True,
    )
    uds: str = ADDRESS.option(
        "", subjects.unix_path(), "Listen on this Unix socket instead.", instead=_FIXED, common=True
    )
    fd: int | None = ADDRESS.option(
        None,
        kinds.or_none(kinds.whole(0, 1 << 20)),
        "Listen on this inherited descriptor instead.",
        instead=_FIXED,
    )
    uds_permissions: int = ADDRESS.option(
        0o660, subjects.mode(), "Permissions of Unix sockets, in octal.", instead=_FIXED
    )
    backlog: int = ADDRESS.option(
        2048,
        kinds.whole(1, 1 << 20),
        "Connections that may wait to be accepted.",
        instead=_FIXED,
    )
    balance: str = ADDRESS.option(
        "least",
        kinds.choice("least", "pull", "sticky-ip", "reuseport"),
        "Who gets a new connection: 'least' the worker that has the fewest, 'pull' whoever is free,"
        " out of one queue, 'sticky-ip' the same one for the same client address, 'reuseport' any,"
        " by chance. What cannot be had is 'pull'; `tercio status` says why.",
        instead=_FIXED,
    )
    sticky: tuple[str, ...] = ADDRESS.option(
        (),
        kinds.several(subjects.session_key()),
        "Where a session is named, 'header:NAME', 'query:NAME', 'cookie:NAME' or 'ip': all its"
        " requests go to one worker. For few, heavy sessions; may be given several times.",
        instead=_FIXED,
    )
    ssl_keyfile: str = TLS.option(
        "", kinds.text("FILE", "a file"), "Private key.", aliases=("--keyfile",), common=True
    )
    ssl_keyfile_password: str = TLS.option(
        "", kinds.text("TEXT"), "Password of the private key.", secret=True
    )
    ssl_keyfile_password_file: str = TLS.option(
        "", kinds.text("FILE", "a file"), "Read the password of the private key from this file."
    )
    ssl_certfile: str = TLS.option(
        "",
        kinds.text("FILE", "a file"),
        "Certificate chain; serves HTTPS.",
        common=True,
        aliases=("--certfile", "--ssl-certificate"),
    )
    ssl_ca_certs: str = TLS.option(
        "",
        kinds.text("FILE", "a file"),
        "Authorities that client certificates are checked with.",
        aliases=("--ca-certs",),
    )
    ssl_ciphers: str = TLS.option(
        "",
        kinds.text("LIST", "OpenSSL's cipher list"),
        "Ciphers to allow, instead of OpenSSL's own choice.",
        aliases=("--ciphers",),
    )
    ssl_cert_reqs: int = TLS.option(
        0,
        subjects.client_certificates(),
        "Whether clients show a certificate.",
        aliases=("--cert-reqs",),
    )
    ssl_check_interval: float = TLS.option(
        5.0,
        kinds.duration(zero="never"),
        "How often to look whether the files changed.",
    )
