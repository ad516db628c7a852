"""The options of the health and admin addresses. They are part of `config.Config`."""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

OPERATIONS = Group("Operations", "Addresses for probes, scrapes and operators; no worker's.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class SidecarOptions:
    """Where a process of its own answers about the cluster."""

    health: str = OPERATIONS.option(
        "",
        subjects.own_address(),
        "Answer /livez, /readyz, /startupz and /metrics here: HOST:PORT, [IPV6]:PORT or unix:PATH.",
        instead=_FIXED,
        common=True,
    )
    min_ready: int = OPERATIONS.option(
        1, kinds.whole(1, 1024), "/readyz is 200 with this many workers that serve."
    )
    admin: str = OPERATIONS.option(
        "",
        subjects.own_address(),
        "Answer the admin API here: HOST:PORT, [IPV6]:PORT or unix:PATH.",
        instead=_FIXED,
        common=True,
    )
    admin_token_file: str = OPERATIONS.option(
        "",
        kinds.text("FILE", "a file of mode 0600"),
        "Tokens of the admin API, a line each: 'read|operate|admin TOKEN'.",
        instead=_FIXED,
    )
    admin_host: tuple[str, ...] = OPERATIONS.option(
        (),
        kinds.several(subjects.host()),
        "A name that the admin API may be called by, beside addresses and localhost. Repeatable.",
        instead=_FIXED,
    )
    admin_ssl_certfile: str = OPERATIONS.option(
        "", kinds.text("FILE", "a file"), "Certificate chain of the admin API.", instead=_FIXED
    )
    admin_ssl_keyfile: str = OPERATIONS.option(
        "", kinds.text("FILE", "a file"), "Its private key.", instead=_FIXED
    )
    admin_insecure: bool = OPERATIONS.option(
        False,
        kinds.switch(),
        "Let the admin API listen beyond loopback without TLS: tokens can be read on the way.",
        instead=_FIXED,
    )
