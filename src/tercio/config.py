"""The only source of options: names, defaults, help, flags, variables, what a reload may change.

The command line, `settings`, the help and docs/options.md are all made from the fields below.
Reading files and the environment is `settings`' job.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tercio.errors import ConfigError
from tercio.options import Group, Option, kinds, options_of, subjects
from tercio.options.hooks import HOOKS, HookOptions
from tercio.options.logs import LOGS, LogOptions
from tercio.options.process import PROCESS, ProcessOptions
from tercio.options.sidecar import OPERATIONS, SidecarOptions
from tercio.units import KIB, MIB

APP = Group("Application", "What is served, and how it is imported.")
ADDRESS = Group("Addresses", "Opened once and kept for the cluster's life.")
WORKERS = Group("Workers", "One process a core; `tercio scale` changes their number later.")
TLS = Group("TLS", "Certificates are read again when their files change.")
HTTP = Group("HTTP", "How requests, proxies and WebSockets are treated.")
START = Group("Starting and reloading", "A reload that fails leaves the old workers serving.")
STOP = Group("Stopping", "What a stop waits for. The second signal stops at once.")
RESTARTS = Group("Restarts", "How a worker that died comes back.")
RECYCLING = Group("Recycling and limits", "A worker is replaced before it is retired.")
HEALTH = Group("Health", "What happens to a worker that does not answer.")
SHARING = Group("Sharing", "What workers share: state, messages, metrics, and child processes.")
DEVELOPMENT = Group("Development", "What `tercio dev` looks at; `tercio run` does not look.")
CLUSTER = Group("Cluster", "How `status`, `reload` and the others find this cluster.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class Config(LogOptions, HookOptions, ProcessOptions, SidecarOptions):
    """Every option with its value. Durations are seconds, sizes are bytes."""

    app: str = APP.option(
        "", subjects.target(), "The application: MODULE:ATTRIBUTE.", positional=True, common=True
    )
    interface: str = APP.option(
        "auto",
        kinds.choice("auto", "asgi", "wsgi", "callable"),
        "What the application speaks; a 'callable' is called with its worker, and speaks for "
        "itself.",
    )
    factory: bool = APP.option(
        False, kinds.switch(), "Call the attribute to get the application.", common=True
    )
    app_dir: str = APP.option(
        "",
        kinds.text("DIR", "a directory"),
        "Import the application from here instead of the working directory.",
        common=True,
    )
    env_file: tuple[str, ...] = APP.option(
        (),
        kinds.several(kinds.text("FILE", "a file")),
        "Set variables from this file, where they are not set yet. Repeatable.",
        aliases=("--env-files",),
        common=True,
    )
    lifespan: str = APP.option(
        "auto", kinds.choice("auto", "on", "off"), "Run the ASGI lifespan; 'on' insists on it."
    )
    server: str = APP.option(
        "tercio",
        kinds.choice("tercio", "uvicorn", "granian"),
        "What speaks HTTP inside a worker; uvicorn and granian are extras.",
    )
    loop: str = APP.option(
        "auto",
        kinds.choice("auto", "uvloop", "asyncio"),
        "The event loop; 'auto' is uvloop where it is installed.",
        aliases=("--asgi-loop",),
    )
    threads: int = APP.option(
        10,
        kinds.whole(1, 1000),
        "Threads that run a WSGI application, per worker.",
        aliases=("--blocking-threads",),
    )

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

    workers: int | str = WORKERS.option(
        "auto",
        kinds.or_auto(kinds.whole(1, 1024)),
        "Worker processes; 'auto' looks at cores, CPU quota and memory.",
        flags=("-w",),
        env=("WEB_CONCURRENCY",),
        instead="use `tercio scale`",
        common=True,
    )
    max_workers: int = WORKERS.option(
        0,
        kinds.whole(0, 1024, zero="the largest of twice the workers, the CPUs and 16"),
        "The most workers `tercio scale` may ask for.",
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

    start_timeout: float = START.option(
        60.0, kinds.duration(low=0.1), "How long import and lifespan start-up may take."
    )
    ready_path: str = START.option(
        "",
        kinds.text("PATH", "a path that begins with '/'", pattern=r"/\S*"),
        "A worker is ready once this path answers 2xx or 3xx.",
        common=True,
    )
    ready_timeout: float = START.option(
        30.0, kinds.duration(low=0.1), "How long --ready-path may take to answer well."
    )
    soak: float = START.option(
        2.0, kinds.duration(), "How long a new worker must stay ready before a reload counts it."
    )
    trial: float = START.option(
        2.0,
        kinds.duration(),
        "How long all new workers serve, the old ones parked, before a reload is final.",
    )
    surge: int = START.option(
        1, kinds.whole(1, 1024), "How many new workers start at once in a reload."
    )
    preload: bool = START.option(
        False,
        kinds.switch(),
        "Import the application once for all workers, which are forked from it and share its"
        " memory. Linux only.",
        aliases=("--preload-app",),
    )
    release_dir: str = START.option(
        "",
        kinds.text("LINK", "a directory, or a link to one"),
        "Start workers in this directory. A link is followed once for each reload: a worker that"
        " comes back later loads what its generation loaded.",
    )
    reload_timeout: float = START.option(
        0.0,
        kinds.duration(zero="computed from the other times"),
        "Roll a reload back that takes longer.",
    )
    drain_timeout: float = START.option(
        30.0,
        kinds.duration(),
        "How long a replaced worker may finish its requests.",
    )
    drain_quiet: float = START.option(
        1.0,
        kinds.duration(),
        "In a drain, close a kept-alive connection once it was idle this long.",
    )

    stop_delay: float = STOP.option(
        0.0, kinds.duration(), "Go on serving this long, for load balancers to notice."
    )
    stop_timeout: float = STOP.option(
        20.0,
        kinds.duration(),
        "How long running requests may take to finish.",
        aliases=("--timeout-graceful-shutdown", "--graceful-timeout"),
        common=True,
    )
    kill_grace: float = STOP.option(
        1.0,
        kinds.duration(),
        "Kill a worker this long after its time to finish was up.",
    )

    stable_after: float = RESTARTS.option(
        10.0, kinds.duration(), "A worker that was ready this long restarts at once."
    )
    backoff_base: float = RESTARTS.option(
        0.25, kinds.duration(low=0.01), "The first wait before an early death is restarted."
    )
    backoff_cap: float = RESTARTS.option(
        30.0, kinds.duration(low=0.01), "The longest such wait; each doubles the one before."
    )
    backoff_jitter: float = RESTARTS.option(
        0.5, kinds.number(0.0, 1.0), "Waits are multiplied by a random factor from this to 1."
    )
    breaker_deaths: int = RESTARTS.option(
        0,
        kinds.whole(0, 100_000, zero="the larger of 5 and twice the workers"),
        "Early deaths within --breaker-window that stop all restarts but a probe.",
    )
    breaker_window: float = RESTARTS.option(
        60.0, kinds.duration(low=1.0), "The time in which early deaths are counted."
    )
    probe_interval: float = RESTARTS.option(
        30.0, kinds.duration(low=0.1), "How often one worker is tried after that."
    )
    on_crash_loop: str = RESTARTS.option(
        "keep",
        kinds.choice("keep", "exit"),
        "Then keep trying, or exit once no worker is ready.",
    )

    limit_max_memory: int | str = RECYCLING.option(
        "auto",
        kinds.or_auto(kinds.size(low=16 * MIB, zero="never")),
        "Recycle a worker above this; 'auto' is its share of a container, 0 is never.",
        common=True,
    )
    leak_window: float = RECYCLING.option(
        0.0,
        kinds.duration(zero="never"),
        "Recycle a worker whose memory grew all through this time.",
    )
    limit_max_requests: int = RECYCLING.option(
        0,
        kinds.whole(0, 10**12, zero="never"),
        "Recycle a worker after this many requests.",
        aliases=("--max-requests",),
        common=True,
    )
    limit_max_lifetime: float = RECYCLING.option(
        0.0,
        kinds.duration(zero="never"),
        "Recycle a worker after this time.",
        aliases=("--workers-lifetime",),
    )
    limit_jitter: float = RECYCLING.option(
        0.1, kinds.number(0.0, 1.0), "Lower the three limits above by up to this share."
    )
    memory_interval: float = RECYCLING.option(
        10.0, kinds.duration(low=0.1), "How often to measure memory."
    )
    sample_interval: float = RECYCLING.option(
        1.0, kinds.duration(low=0.1), "How often to read the workers' counters."
    )
    worker_limit: tuple[str, ...] = RECYCLING.option(
        (),
        kinds.several(subjects.resource_limit()),
        "Kernel limit of a worker: memory=1GB, nofile=4096 or cpu=1h. Repeatable.",
    )

    blocked_after: float = HEALTH.option(
        1.0,
        kinds.duration(low=0.05),
        "Report an event loop that one call has held this long, and where.",
    )
    rescue: str = HEALTH.option(
        "thread",
        kinds.choice("thread", "off"),
        "Give connections that wait for a held event loop to other workers.",
    )
    rescue_after: float = HEALTH.option(
        0.01, kinds.duration(low=0.005), "How long one call must have held the loop for that."
    )
    blocked_kill: float = HEALTH.option(
        30.0, kinds.duration(zero="never"), "Replace a worker whose loop was held this long."
    )
    stopped_kill: float = HEALTH.option(
        10.0, kinds.duration(zero="never"), "Replace a process that did not run at all this long."
    )

    state_dir: str = SHARING.option(
        "",
        kinds.text("DIR", "a directory on a local disk"),
        "Keep the shared state here, over a restart of the cluster; else it is in memory.",
        instead=_FIXED,
    )
    state_size: int = SHARING.option(
        0,
        kinds.size(low=MIB, zero="the smaller of 256 MiB and half of what is free"),
        "The most that the shared state may hold; the embedded engine only.",
        instead=_FIXED,
    )
    state_sync: str = SHARING.option(
        "interval",
        kinds.choice("none", "interval", "always"),
        "When --state-dir is written to disk: a power loss undoes what was not.",
        instead=_FIXED,
    )
    redis: str = SHARING.option(
        "",
        subjects.redis_url(),
        "Share over Redis or Valkey, with other machines: redis://, rediss://, unix:// or "
        "redis+sentinel://.",
        secret=True,
        instead=_FIXED,
    )
    redis_file: str = SHARING.option(
        "",
        kinds.text("FILE", "a file"),
        "Read --redis from this file, which keeps its password out of sight.",
        instead=_FIXED,
    )
    redis_prefix: str = SHARING.option(
        "tercio:",
        kinds.text("PREFIX", "text"),
        "What all keys and channels in Redis begin with.",
        instead=_FIXED,
    )
    redis_required: bool = SHARING.option(
        False,
        kinds.switch(),
        "A worker that cannot reach Redis is not ready.",
    )
    ring_size: int = SHARING.option(
        4 * MIB,
        kinds.size(low=64 * KIB),
        "Memory for each worker's messages that others have not read yet.",
        instead=_FIXED,
    )
    attached: int = SHARING.option(
        16,
        kinds.whole(0, 512),
        "The most other processes (tercio exec, offloaded calls) that may attach at a time.",
        instead=_FIXED,
    )
    offload_workers: int = SHARING.option(
        0,
        kinds.whole(0, 1024, zero="one per CPU"),
        "Processes for `cluster.offload`, in the whole cluster.",
    )
    secrets_dir: str = SHARING.option(
        "",
        kinds.text("DIR", "a directory"),
        "Where `cluster.secret(NAME)` finds a file of that name.",
    )
    stats_interval: float = SHARING.option(
        0.0,
        kinds.duration(zero="never"),
        "Log a line of statistics this often.",
    )

    watch: tuple[str, ...] = DEVELOPMENT.option(
        (),
        kinds.several(kinds.text("DIR", "a directory")),
        "Load the application anew when a file below changes, instead of below the directory that "
        "it is imported from. Repeatable.",
        aliases=("--reload-dir",),
    )
    watch_filter: tuple[str, ...] = DEVELOPMENT.option(
        (),
        kinds.several(kinds.text("PATTERN", "a pattern such as '*.html' or '!tests/*'")),
        "Files to look at beside '*.py'; with '!' before it, files not to look at. Repeatable.",
        aliases=("--reload-include",),
    )

    name: str = CLUSTER.option(
        "",
        kinds.text(
            "NAME",
            "a name of up to 64 letters, digits, dots, dashes or underscores",
            pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ),
        "The cluster's name, for several on one machine.",
        flags=("-n",),
        instead=_FIXED,
        common=True,
    )
    runtime_dir: str = CLUSTER.option(
        "",
        kinds.text("DIR", "a directory"),
        "Where the control socket lives.",
        instead=_FIXED,
        common=True,
    )

    @property
    def binds(self) -> tuple[str, ...]:
        """Every address to listen on, in the notation of ``bind``."""
        if self.fd is not None:
            return (f"fd:{self.fd}",)
        if self.uds:
            return (f"unix:{self.uds}",)
        if self.bind or self.interface == "callable":
            return self.bind
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{host}:{self.port}",)

    @property
    def scheme(self) -> str:
        """What the URLs of addresses begin with."""
        if self.interface == "callable":
            return "tcp"
        return "https" if self.ssl_certfile else "http"

    @property
    def moves_connections(self) -> bool:
        """Whether a worker can give a connection to another one."""
        is_ours = self.server == "tercio" and self.interface != "callable"
        return is_ours and not self.ssl_certfile

    @property
    def engine(self) -> str:
        """What carries messages and shared state."""
        return "redis" if self.redis else "embedded"

    @property
    def resource_limits(self) -> dict[str, int]:
        """``worker_limit`` as numbers: bytes, descriptors, seconds."""
        return subjects.resource_limits(self.worker_limit)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values of all options that nobody else should see."""
        values = (getattr(self, name) for name, option in OPTIONS.items() if option.secret)
        return tuple(str(value) for value in values if value)

    def to_json(self, *, redacted: bool = False) -> dict[str, object]:
        """Every field as JSON would hold it; ``redacted`` for what leaves the cluster."""
        values: dict[str, object] = {}
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            values[name] = list(value) if isinstance(value, tuple) else value
            if redacted and option.secret and value:
                values[name] = "***"
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Config":
        """The config that ``to_json`` wrote; fields it did not know take their defaults."""
        if unknown := sorted(values.keys() - OPTIONS.keys()):
            raise ConfigError(f"unknown options in a stored configuration: {', '.join(unknown)}")
        tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return dataclasses.replace(cls(), **tuples)  # type: ignore[arg-type]


_ORDER = (
    APP, ADDRESS, WORKERS, PROCESS, TLS, HTTP, LOGS, START, HOOKS, STOP, RESTARTS, RECYCLING,
    HEALTH, OPERATIONS, SHARING, CLUSTER,
)  # fmt: skip
"""The groups as help and docs show them; a dataclass tells its base's fields first."""


def _place(group: Group) -> int:
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


OPTIONS: dict[str, Option] = dict(
    sorted(options_of(Config).items(), key=lambda named: _place(named[1].group))
)
