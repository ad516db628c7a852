"""The options of HTTP: requests, proxies and WebSockets, and their limits.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group
from tercio.units import KIB, MIB

HTTP = Group("HTTP", "How requests, proxies and WebSockets are treated.")


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How requests are treated."""

    root_path: str = HTTP.option(
        "",
        kinds.text("PATH", "a path that begins with '/'", pattern=r"/\S*"),
        "The path a proxy serves the application below.",
        aliases=("--url-path-prefix",),
    )
    proxy_headers: bool = HTTP.option(
        True, kinds.switch(), "Take scheme and client from X-Forwarded-* of trusted proxies."
    )
    forwarded_allow_ips: str = HTTP.option(
        "127.0.0.1,::1",
        subjects.trusted_proxies(),
        "Proxies to trust: addresses, networks, Unix socket paths, or '*' for all.",
        env=("FORWARDED_ALLOW_IPS",),
    )
    timeout_keep_alive: float = HTTP.option(
        75.0,
        kinds.duration(),
        "Close a connection that was idle this long; keep it above your proxy's time.",
        aliases=("--keep-alive",),
    )
    timeout_head: float = HTTP.option(
        10.0, kinds.duration(low=0.1), "How long a client may take to send the head of a request."
    )
    timeout_write: float = HTTP.option(
        30.0,
        kinds.duration(zero="for ever"),
        "How long an answer may wait for a client that reads nothing.",
    )
    limit_body_rate: int = HTTP.option(
        240,
        kinds.size(low=1, zero="any rate"),
        "Bytes a second that a request's body must bring.",
    )
    limit_body_grace: float = HTTP.option(
        10.0, kinds.duration(low=0.1), "How long a body may be slower than that."
    )
    limit_request_line: int = HTTP.option(
        8 * KIB, kinds.size(low=64), "The longest request line to take."
    )
    limit_head: int = HTTP.option(
        64 * KIB, kinds.size(low=256), "The largest head of a request to take."
    )
    limit_head_fields: int = HTTP.option(
        100,
        kinds.whole(1, 10_000),
        "The most header fields to take.",
        aliases=("--limit-request-fields",),
    )
    linger: float = HTTP.option(
        1.0,
        kinds.duration(),
        "After a final answer, how long to read and discard what the client still sends.",
    )
    linger_size: int = HTTP.option(16 * MIB, kinds.size(low=0), "How much of it to read.")
    limit_connections: int = HTTP.option(
        0,
        kinds.whole(0, 10_000_000, zero="nine tenths of the open-file limit"),
        "Connections a worker takes; more wait for another one, or for room.",
    )
    limit_peer_connections: int = HTTP.option(
        0,
        kinds.whole(0, 10_000_000, zero="no limit"),
        "Connections a worker takes of one address (IPv6: of one /64); trusted proxies have none.",
    )
    limit_concurrency: int | None = HTTP.option(
        None,
        kinds.or_none(kinds.whole(1, 1_000_000)),
        "Answer 503 beyond this many connections or tasks in a worker.",
    )
    server_header: bool = HTTP.option(True, kinds.switch(), "Send the Server header.")
    date_header: bool = HTTP.option(True, kinds.switch(), "Send the Date header.")
    header: tuple[str, ...] = HTTP.option(
        (),
        # A value may hold commas, never a line break.
        kinds.several(subjects.header(), separator="\n"),
        "Add this header to every response. Repeatable.",
    )
    pathsend: bool = HTTP.option(
        False,
        kinds.switch(),
        "Offer `http.response.pathsend`: cheaper files, if all middleware knows it.",
    )
    ws_max_size: int = HTTP.option(MIB, kinds.size(low=1), "The largest WebSocket message to take.")
    ws_max_queue: int = HTTP.option(
        32,
        kinds.whole(1, 100_000),
        "WebSocket messages that may wait for the application before reading stops.",
    )
    ws_max_rate: int = HTTP.option(
        0,
        kinds.whole(0, 1_000_000, zero="any number"),
        "WebSocket messages a second to take of one client; more have to wait.",
    )
    ws_per_message_deflate: bool = HTTP.option(
        True, kinds.switch(), "Offer compression to WebSocket clients."
    )
    ws_ping_interval: float = HTTP.option(
        20.0, kinds.duration(zero="never"), "How often to ping a WebSocket."
    )
    ws_ping_timeout: float = HTTP.option(
        20.0, kinds.duration(zero="for ever"), "How long to wait for its answer."
    )
