"""What PM2's ecosystem.config.json means in Tercio's words. Nothing of it is executed."""

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from tercio.cli.flags import OptionsCommand, run_parameters
from tercio.cli.imports import Imported, names
from tercio.config import OPTIONS
from tercio.errors import ConfigError
from tercio.options.elsewhere import ELSEWHERE

_SERVERS: Final = ("uvicorn", "gunicorn", "hypercorn", "granian", "tercio")
"""Programs whose command line is one of ours, or is answered."""

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 0.001}

_INSTEAD: Final = {
    "exec_mode": "",  # fork and cluster are one thing here
    "watch": "use `tercio dev` while you write",
    "ignore_watch": "use `tercio dev --watch-filter '!PATTERN'` while you write",
    "watch_options": "use `tercio dev` while you write",
    "watch_delay": "use `tercio dev` while you write",
    "interpreter": "run `tercio` with that interpreter: INTERPRETER -m tercio run",
    "exec_interpreter": "run `tercio` with that interpreter: INTERPRETER -m tercio run",
    "interpreter_args": "run `tercio` with them: python ARGS -m tercio run",
    "node_args": "Node's options mean nothing to Python",
    "wait_ready": "use ready-path: a path that answers 2xx once the application is ready",
    "shutdown_with_message": "the application's shut-down is run (lifespan)",
    "cron_restart": "use limit-max-lifetime, or cron with `tercio reload`",
    "cron": "use limit-max-lifetime, or cron with `tercio reload`",
    "max_restarts": "crashes back off and are tried for ever; see breaker-deaths and on-crash-loop",
    "post_update": "put it before `tercio reload` in your deployment",
    "log_date_format": "systemd, Docker and `tercio logs` add times",
    "pid_file": "`tercio status --json` has the pid",
    "increment_var": "`cluster.worker.slot` is the worker's number, and all share one port",
    "instance_var": "`cluster.worker.slot` is the worker's number",
    "deploy": "Tercio deploys nothing: copy files, then `tercio reload`",
    "namespace": "use name and runtime-dir",
    "filter_env": "start Tercio with `env -i` or a unit's Environment=",
    "force": "",
    "merge_logs": "",
    "combine_logs": "",
    "time": "",
    "vizion": "",
    "pmx": "",
    "automation": "",
    "treekill": "",
    "source_map_support": "",
    "disable_source_map_support": "",
    "disable_logs": "use access-log = false and log-level",
    "log_type": "use log-format",
    "append_env_to_name": "",
    "trace": "",
    "kill_retry_time": "",
    "stop_exit_codes": "a worker that exits is always replaced",
    "autostart": "",
    "wait_ready_timeout": "use ready-timeout",
}
"""What has no key of ours, and what to do; empty where there is nothing to do."""

_SPELLINGS: Final = {
    "out": "out_file", "output": "out_file", "error": "error_file", "err_file": "error_file",
    "err_log": "error_file", "out_log": "out_file", "pid": "pid_file", "log": "log_file",
    "maxMemoryRestart": "max_memory_restart", "exec": "script", "instance": "instances",
}  # fmt: skip


def read(source: str, text: str, wanted: str | None) -> Imported:
    """Translate the file ``source`` whose content is ``text``. Raises `ConfigError`.

    ``wanted`` names one of its applications, which is needed if there are several.
    """
    app = _chosen(source, _parsed(source, text), wanted)
    imported = Imported(source)
    given = {_SPELLINGS.get(key, key): value for key, value in app.items()}
    _command_line(imported, given)
    for key, value in given.items():
        if key.startswith("env"):
            _environment(imported, key, value)
        elif key in _SPECIAL:
            _SPECIAL[key](imported, key, value)
        elif key in _INSTEAD:
            is_usual = value in (False, None, [], "", "none", "python", "python3")
            if _INSTEAD[key] and not is_usual:
                imported.leave(key, _INSTEAD[key])
        elif key not in ("script", "args"):
            imported.leave(key, "it is not known as one of PM2's")
    return imported


def _parsed(source: str, text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f"{source}: {key!r} stands twice in one object")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}: no JSON here: {error.msg}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: it is nested too deeply to be a configuration") from error


def _no_number(text: str) -> object:
    raise ConfigError(f"{text} is no JSON")


def _chosen(source: str, parsed: Any, wanted: str | None) -> dict[str, Any]:
    apps = parsed.get("apps", parsed) if isinstance(parsed, dict) else parsed
    listed = apps if isinstance(apps, list) else [apps]
    if not listed or not all(isinstance(each, dict) for each in listed):
        raise ConfigError(f'{source}: expected an object with "apps", a list of objects')
    if wanted is not None:
        listed = [each for each in listed if each.get("name") == wanted]
        if not listed:
            raise ConfigError(f"{source}: there is no application named {wanted!r}")
    if len(listed) > 1:
        found = ", ".join(str(each.get("name", "without a name")) for each in listed)
        raise ConfigError(
            f"{source} has several applications ({found}); each is a cluster of its own: "
            "choose one with --app NAME"
        )
    app: dict[str, Any] = listed[0]
    return app


def _command_line(imported: Imported, given: Mapping[str, Any]) -> None:
    """Take over what the script and its arguments say, if it is a server that we know."""
    args = given.get("args") or []
    try:
        words = [str(each) for each in args] if isinstance(args, list) else shlex.split(str(args))
    except ValueError as error:
        raise ConfigError(f"args: {args!r} is no command line: {error}") from error
    script = str(given.get("script") or "")
    program = os.path.basename(script)
    if program.startswith("python") or program in ("poetry", "pipenv", "uv"):
        # python -m uvicorn …, poetry run uvicorn …
        at = next((n for n, word in enumerate(words) if word in _SERVERS), None)
        if at is not None:
            program, words = words[at], words[at + 1 :]
    if program not in _SERVERS:
        said = f"script {script!r}" if script else "no script"
        imported.leave(said, "name the Python application: app = 'MODULE:ATTRIBUTE'")
        if words:
            imported.leave("args", f"they belong to that script: {shlex.join(words)}")
        return
    if words[:1] == ["run"]:
        words = words[1:]
    _flags(imported, program, words)


def _flags(imported: Imported, program: str, words: list[str]) -> None:
    """Parse a server's command line as ours; what is answered there is a comment here."""
    answers = {flag: each for each in ELSEWHERE for flag in each.flags}
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, has_value, _ = word.partition("=")
        other = answers.get(flag)
        if other is None:
            kept.append(word)
            continue
        if other.takes_value and not has_value:
            next(rest, None)
        imported.leave(f"{program} {flag}", other.answer)
    parser = OptionsCommand("run", params=run_parameters())
    try:
        context = parser.make_context("run", kept, resilient_parsing=False)
    except click.UsageError as error:
        raise ConfigError(f"args: {shlex.join(words)}: {error.format_message()}") from error
    for name, value in context.params.items():
        if name not in OPTIONS or value is None or value == ():
            continue
        plain = list(value) if isinstance(value, tuple) else value
        imported.take(name.replace("_", "-"), plain, "args")


def _environment(imported: Imported, key: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: expected an object, and it is {value!r}")
    plain = {name: each for name, each in value.items() if name != "PORT" or key != "env"}
    if key == "env" and "PORT" in value and not any(line[0] == "port" for line in imported.lines):
        imported.take("port", str(value["PORT"]), "env PORT")
    if plain:
        # Not their values: they may be secrets.
        found = names(plain)
        imported.leave(key, f"put {found} into a file, NAME=value a line, and name it: env-file")


def _instances(imported: Imported, key: str, value: Any) -> None:
    if value in ("max", 0, "0") or (isinstance(value, int) and value < 0):
        imported.take("workers", "auto", f"instances {value}")
    else:
        imported.take("workers", value, "instances")


def _memory(imported: Imported, key: str, value: Any) -> None:
    text = re.sub(r"(?i)^(\d+)([KMG])B?$", r"\1\2iB", str(value))
    imported.take("limit-max-memory", text, f"{key}, of the worker's own memory")


def _kill_timeout(imported: Imported, key: str, value: Any) -> None:
    imported.take("stop-timeout", seconds(key, value), f"{key}, at a stop")
    imported.take("drain-timeout", seconds(key, value), f"{key}, at a reload")


def _autorestart(imported: Imported, key: str, value: Any) -> None:
    if value is False:
        imported.take("on-crash-loop", "exit", "autorestart false; workers are still replaced")


def _duration(ours: str) -> Callable[[Imported, str, Any], None]:
    def take(imported: Imported, key: str, value: Any) -> None:
        imported.take(ours, seconds(key, value), key)

    return take


def seconds(key: str, value: Any) -> float | int:
    """PM2's time: a number is milliseconds, text has a unit (``10s``, ``1h``)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(h|m|s|)", str(value))
    if match is None:
        raise ConfigError(f"{key}: {value!r} is no time of PM2 (3000, '10s', '1h')")
    found = round(float(match[1]) * _UNITS[match[2]], 3)
    return int(found) if found == int(found) else found


def _same(ours: str) -> Callable[[Imported, str, Any], None]:
    def take(imported: Imported, key: str, value: Any) -> None:
        imported.take(ours, str(value), key)

    return take


def _directory(imported: Imported, key: str, value: Any) -> None:
    imported.take("app-dir", value, "cwd; start Tercio there if the application opens files")


_SPECIAL: Final[dict[str, Callable[[Imported, str, Any], None]]] = {
    "name": _same("name"),
    "cwd": _directory,
    "instances": _instances,
    "max_memory_restart": _memory,
    "kill_timeout": _kill_timeout,
    "listen_timeout": _duration("start-timeout"),
    "min_uptime": _duration("stable-after"),
    "restart_delay": _duration("backoff-base"),
    "exp_backoff_restart_delay": _duration("backoff-base"),
    "autorestart": _autorestart,
    "out_file": _same("access-log-file"),
    "error_file": _same("error-log-file"),
    "log_file": _same("error-log-file"),
    "uid": _same("user"),
    "user": _same("user"),
    "gid": _same("group"),
}
