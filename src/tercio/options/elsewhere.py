"""Options of gunicorn, uvicorn, hypercorn, granian and PM2 that are none here: what to use instead.

Spellings that mean the same as one of ours are not here: they are its aliases in `config`.
tests/cli/test_elsewhere.py goes through the lists of the servers themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An option of another server."""

    flags: tuple[str, ...]
    takes_value: bool
    answer: str


_ANSWERS: tuple[tuple[tuple[str, ...], bool, str], ...] = (
    # spellings, whether a value follows, what to do here
    (
        ("--timeout", "-t", "--timeout-worker-healthcheck"),
        True,
        "use --blocked-kill (the event loop is held), --stopped-kill, --timeout-request (WSGI)",
    ),
    (
        ("--worker-class", "-k"),
        True,
        "every worker serves ASGI and WSGI; use --interface or --server to insist",
    ),
    (
        ("--limit-max-requests-jitter", "--max-requests-jitter"),
        True,
        "use --limit-jitter, a share such as 0.1 of --limit-max-requests",
    ),
    (("--worker-connections",), True, "use --limit-connections"),
    (("--worker-tmp-dir",), True, "leave it out: workers beat in shared memory, not in a file"),
    (("--backpressure",), True, "use --limit-concurrency"),
    (
        (
            "--limit-request-field_size",
            "--limit-request-field-size",
            "--h11-max-incomplete-event-size",
        ),
        True,
        "use --limit-head",
    ),
    (("--workers-max-rss",), True, "use --limit-max-memory, with a unit such as 300MiB"),
    (("--env", "-e"), True, "use --env-file, or set the variable where `tercio run` starts"),
    (("--ssl-version",), True, "TLS 1.2 and newer are served; use --ssl-ciphers to narrow it"),
    (
        ("--http", "--ws", "--http-parser"),
        True,
        "leave it out: httptools and websockets are always used",
    ),
    (("--no-ws",), False, "leave it out: an application that takes no WebSocket refuses it"),
    (("--debug",), False, "use `tercio dev APP`, or --log-level debug"),
    (("--spew",), False, "use `tercio dump SLOT` to see what a worker does"),
    (
        ("--reload",),
        False,
        "use `tercio dev APP`, which loads each change; in production `tercio reload` or SIGHUP",
    ),
    (
        ("--reload-exclude",),
        True,
        "use `tercio dev APP --watch-filter '!PATTERN'`",
    ),
    (
        ("--reload-delay", "--reload-engine", "--reload-extra-file"),
        True,
        "use `tercio dev APP`, with --watch and --watch-filter",
    ),
    (
        ("--reload-paths", "--reload-extra-files"),
        True,
        "use `tercio dev APP --watch DIR`",
    ),
    (
        ("--reload-ignore-dirs", "--reload-ignore-patterns", "--reload-ignore-paths"),
        True,
        "use `tercio dev APP --watch-filter '!PATTERN'`",
    ),
    (("--reload-tick",), True, "use `tercio dev APP`; it is told of changes, and does not ask"),
    (
        ("--reload-ignore-worker-failure", "--no-reload-ignore-worker-failure", "--no-reload"),
        False,
        "use `tercio dev APP`, which waits with a broken file for the next change",
    ),
    (("--daemon", "-D"), False, "run it under systemd, a container or `nohup … &`"),
    (("-p",), True, "use --pid-file, or `tercio status --json`, which has the pid"),
    (("-u",), True, "use --user"),
    (("-g",), True, "use --group"),
    (("-m",), True, "use --umask"),
    (("--initgroups",), False, "leave it out: --user sets the user's groups, too"),
    (
        ("--process-name", "--server-name"),
        True,
        "use --name for the cluster; hosts are checked by the application or a proxy",
    ),
    (("--access-log-fmt",), True, "use --access-log-format, with gunicorn's atoms"),
    (("--error-log",), True, "use --error-log-file"),
    (("--log", "--no-log"), False, "use --log-level"),
    (
        ("--capture-output", "--enable-stdio-inheritance", "-R"),
        False,
        "leave it out: what workers print goes where the log goes, at once",
    ),
    (("--logger-class",), True, "configure logging in the application; it wins over ours"),
    (
        ("--log-syslog", "--disable-redirect-access-to-syslog"),
        False,
        "logs go to standard output and error: systemd and Docker pass them to syslog",
    ),
    (
        ("--log-syslog-to", "--log-syslog-prefix", "--log-syslog-facility"),
        True,
        "logs go to standard output and error: systemd and Docker pass them to syslog",
    ),
    (
        ("--statsd-host", "--statsd-prefix", "--dogstatsd-tags"),
        True,
        "use `tercio metrics`, which Prometheus and the OpenTelemetry collector read",
    ),
    (
        ("--enable-backlog-metric", "--metrics", "--no-metrics"),
        False,
        "leave it out: `tercio metrics` always has them",
    ),
    (
        ("--metrics-scrape-interval", "--metrics-address", "--metrics-port"),
        True,
        "use `tercio metrics`; they are read when somebody asks",
    ),
    (("--paste", "--paster", "--paste-global"), True, "write a module that loads it: MODULE:APP"),
    (
        ("--proxy-protocol", "--proxy-allow-from"),
        True,
        "the PROXY protocol is not spoken; let the proxy send X-Forwarded-For",
    ),
    (
        ("--protocol", "--uwsgi-allow-from"),
        True,
        "HTTP is spoken; write `proxy_pass` instead of `uwsgi_pass`",
    ),
    (
        ("--no-sendfile", "--suppress-ragged-eofs", "--do-handshake-on-connect", "--reuse-port"),
        False,
        "leave it out: it is done as well as it can be",
    ),
    (
        (
            "--http-protocols",
            "--http2-cleartext",
            "--http2-max-concurrent-streams",
            "--http2-initial-window-size",
            "--http2-max-frame-size",
            "--http2-max-header-list-size",
            "--http2-initial-connection-window-size",
            "--http2-initial-stream-window-size",
            "--http2-keep-alive-interval",
            "--http2-keep-alive-timeout",
            "--http2-max-headers-size",
            "--http2-max-send-buffer-size",
            "--quic-bind",
        ),
        True,
        "let a proxy speak HTTP/2 and HTTP/3 with browsers, or use --server granian",
    ),
    (
        ("--http2", "--http2-adaptive-window", "--no-http2-adaptive-window"),
        False,
        "let a proxy speak HTTP/2 with browsers, or use --server granian",
    ),
    (
        (
            "--permit-obsolete-folding",
            "--strip-header-spaces",
            "--permit-unconventional-http-method",
            "--permit-unconventional-http-version",
            "--casefold-http-method",
        ),
        False,
        "leave it out: what two programs could read in two ways is refused",
    ),
    (
        ("--forwarder-headers", "--header-map"),
        True,
        "leave it out: header fields with underscores are not passed on to WSGI applications",
    ),
    (("--asgi-lifespan",), True, "use --lifespan"),
    (
        ("--asgi-disconnect-grace-period",),
        True,
        "leave it out: an application hears of a disconnect at once, and is not cancelled",
    ),
    (("--websocket-max-message-size",), True, "use --ws-max-size"),
    (("--websocket-ping-interval",), True, "use --ws-ping-interval"),
    (
        (
            "--dirty-app",
            "--dirty-workers",
            "--dirty-timeout",
            "--dirty-threads",
            "--dirty-graceful-timeout",
        ),
        True,
        "use `cluster.offload` in the application, and --offload-workers",
    ),
    (("--control-socket",), True, "use --runtime-dir: the control socket is in it"),
    (("--control-socket-mode",), True, "leave it out: only the cluster's own user may connect"),
    (("--no-control-socket",), False, "leave it out: only the cluster's own user may connect"),
    (("--reset-contextvars",), False, "leave it out: each request has a context of its own"),
    # hypercorn
    (("--read-timeout",), True, "use --timeout-head and --limit-body-rate"),
    (("--keyfile-password",), True, "use --ssl-keyfile-password"),
    (("--verify-mode",), True, "use --ssl-cert-reqs"),
    (("--insecure-bind",), True, "let a proxy or a second cluster serve what is not TLS"),
    # granian
    (
        (
            "--runtime-threads",
            "--runtime-blocking-threads",
            "--runtime-mode",
            "--task-impl",
            "--blocking-threads-idle-timeout",
        ),
        True,
        "leave it out: Tercio chooses, also for --server granian",
    ),
    (("--http1-buffer-size",), True, "use --limit-head"),
    (("--http1-header-read-timeout",), True, "use --timeout-head"),
    (
        ("--http1-keep-alive", "--no-http1-keep-alive"),
        False,
        "use --timeout-keep-alive; 0s keeps nothing alive",
    ),
    (
        ("--http1-pipeline-flush", "--no-http1-pipeline-flush"),
        False,
        "leave it out: answers are written when they are ready",
    ),
    (("--ssl-protocol-min",), True, "TLS 1.2 and newer are served; use --ssl-ciphers to narrow it"),
    (("--ssl-ca",), True, "use --ssl-ca-certs"),
    (("--ssl-crl",), True, "lists of revoked certificates are not read: let a proxy check them"),
    (("--ssl-client-verify", "--no-ssl-client-verify"), False, "use --ssl-cert-reqs"),
    (("--no-respawn-failed-workers",), False, "use --on-crash-loop exit"),
    (("--rss-sample-interval", "--rss-samples"), True, "use --memory-interval"),
    (("--workers-kill-timeout",), True, "use --drain-timeout and --stop-timeout"),
    (
        (
            "--static-path-route",
            "--static-path-mount",
            "--static-path-dir-to-file",
            "--static-path-expires",
        ),
        True,
        "let the application or a proxy serve files",
    ),
    # PM2
    (("-i", "--instances"), True, "use --workers; 0 and max are 'auto'"),
    (("--max-memory-restart",), True, "use --limit-max-memory"),
    (("--kill-timeout",), True, "use --drain-timeout for a reload and --stop-timeout for a stop"),
    (("--listen-timeout",), True, "use --start-timeout and --ready-timeout"),
    (("--wait-ready",), False, "use --ready-path: a path that answers 2xx once the app is ready"),
    (
        ("--exp-backoff-restart-delay", "--restart-delay"),
        True,
        "use --backoff-base and --backoff-cap",
    ),
    (("--max-restarts",), True, "use --breaker-deaths and --on-crash-loop"),
    (("--min-uptime",), True, "use --stable-after"),
    (("--cron-restart", "--cron"), True, "use --limit-max-lifetime, or cron with `tercio reload`"),
    (("--no-autorestart",), False, "use --on-crash-loop exit"),
    (("--ignore-watch",), True, "use `tercio dev APP --watch-filter '!PATTERN'`"),
    (
        ("--merge-logs", "--time", "--no-daemon", "--attach"),
        False,
        "leave it out: it is so without it",
    ),
    (("--output", "--error"), True, "use --access-log-file and --error-log-file"),
    (
        ("--interpreter", "--interpreter-args", "--node-args"),
        True,
        "run Tercio with it: `INTERPRETER -X … -m tercio run APP`",
    ),
    (("--namespace",), True, "use --name and --runtime-dir"),
    (("--pythonpath",), True, "use --app-dir, or set PYTHONPATH"),
    (("--respawn-failed-workers",), False, "a worker that dies is always restarted"),
    (("--respawn-interval",), True, "use --backoff-base and --backoff-cap"),
    (("--check-config",), False, "use `tercio check APP`"),
    (("--print-config",), False, "use `tercio config APP --show-origin`"),
)

ELSEWHERE = tuple(Elsewhere(*facts) for facts in _ANSWERS)

# gunicorn's settings in a file that no flag of it is called like.
_OTHER_KEYS = {
    "accesslog": "--access-logfile",
    "errorlog": "--error-logfile",
    "graceful-timeout": "--graceful-timeout",
    "keepalive": "--keep-alive",
    "loglevel": "--log-level",
    "preload-app": "--preload",
    "proc-name": "--name",
    "raw-env": "--env",
    "dirty-apps": "--dirty-app",
}


def answer_to(key: str) -> str:
    """What to do about a key of another server in a file or a variable; empty for unknown ones."""
    spelling = _OTHER_KEYS.get(key, f"--{key}")
    for option in ELSEWHERE:
        if spelling in option.flags:
            return option.answer
    return f"use {spelling[2:]}" if key in _OTHER_KEYS else ""
