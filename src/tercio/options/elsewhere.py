"""Options of uvicorn, gunicorn and granian that mean nothing here, and what to use instead.

Spellings that mean the same as one of ours are not here: they are its aliases in `config`.
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
        "use --blocked-kill (the event loop is held) and --stopped-kill",
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
    (
        ("--chdir", "--working-dir"),
        True,
        "start it in that directory, or use --app-dir to import the application from there",
    ),
    (("--env", "-e"), True, "use --env-file, or set the variable where `tercio run` starts"),
    (("--ssl-version",), True, "TLS 1.2 and newer are served; use --ssl-ciphers to narrow it"),
    (("--log-config",), True, "configure logging in the application; it wins over ours"),
    (("--http", "--ws"), True, "httptools and websockets are always used"),
    (
        ("--reload",),
        False,
        "`tercio run` does not watch files; `tercio reload` or SIGHUP loads new code",
    ),
    (
        ("--reload-dir", "--reload-include", "--reload-exclude", "--reload-delay"),
        True,
        "`tercio run` does not watch files; `tercio reload` or SIGHUP loads new code",
    ),
    (("--preload",), False, "each worker imports the application itself"),
    (("--daemon", "-D"), False, "run it under systemd, a container or `nohup … &`"),
    (("--pid", "--pid-file"), True, "`tercio status --json` has the pid"),
    (
        ("--access-logfile", "--error-logfile", "--log-file"),
        True,
        "logs go to standard output and error; redirect them",
    ),
    (("--pythonpath",), True, "use --app-dir, or set PYTHONPATH"),
    (("--respawn-failed-workers",), False, "a worker that dies is always restarted"),
    (("--respawn-interval",), True, "use --backoff-base and --backoff-cap"),
    (("--check-config",), False, "use `tercio check APP`"),
    (("--print-config",), False, "use `tercio config APP --show-origin`"),
)

ELSEWHERE = tuple(Elsewhere(*facts) for facts in _ANSWERS)


def answer_to(key: str) -> str:
    """What to do about a key of another server in a file or a variable; empty for unknown ones."""
    for option in ELSEWHERE:
        if f"--{key}" in option.flags:
            return option.answer
    return ""
