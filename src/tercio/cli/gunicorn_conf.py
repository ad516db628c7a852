"""What gunicorn.conf.py means in Tercio's words. The file itself is executed elsewhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from tercio.cli import conf_trial
from tercio.cli.imports import Imported
from tercio.config import OPTIONS
from tercio.errors import ConfigError
from tercio.options.elsewhere import answer_to

_PATIENCE: Final = 30.0  # seconds; it may sleep, which takes no CPU time

_HOOKS: Final = {
    "on_starting": "",
    "on_reload": "",
    "when_ready": "",
    "pre_fork": "",
    "pre_exec": "",
    "post_fork": "on_worker_start",
    "post_worker_init": "on_worker_ready",
    "worker_int": "on_worker_drain",
    "worker_abort": "",
    "pre_request": "",
    "post_request": "",
    "child_exit": "",
    "worker_exit": "on_worker_exit",
    "nworkers_changed": "",
    "on_exit": "",
    "ssl_context": "",
    "on_dirty_starting": "",
    "dirty_post_fork": "",
    "dirty_worker_init": "",
    "dirty_worker_exit": "",
}
"""gunicorn's hooks, and ours that is called at that moment."""

_SAME: Final = {
    "wsgi_app": "app",
    "backlog": "backlog",
    "limit_request_line": "limit-request-line",
    "limit_request_fields": "limit-head-fields",
    "worker_connections": "limit-connections",
    "max_requests": "limit-max-requests",
    "keepalive": "timeout-keep-alive",
    "keyfile": "ssl-keyfile",
    "certfile": "ssl-certfile",
    "ca_certs": "ssl-ca-certs",
    "cert_reqs": "ssl-cert-reqs",
    "ciphers": "ssl-ciphers",
    "loglevel": "log-level",
    "root_path": "root-path",
    "asgi_loop": "loop",
    "asgi_lifespan": "lifespan",
    "websocket_max_message_size": "ws-max-size",
}
"""Settings whose value means the same here."""

_WHERE_KNOWN: Final = {
    "user": ("user", "start it as that user"),
    "group": ("group", "start it in that group"),
    "umask": ("umask", "set the umask where `tercio run` starts"),
    "chdir": ("chdir", "start it in that directory, or use app-dir"),
    "pidfile": ("pid-file", "`tercio status --json` has the pid"),
    "preload_app": ("preload", "each worker imports the application itself"),
    "access_log_format": ("access-log-format", "access lines have uvicorn's form"),
    "logconfig": ("log-config", "configure logging in the application; it wins over ours"),
}

_NO_EFFECT: Final = {
    "capture_output": "it is always so",
    "enable_stdio_inheritance": "it is always so",
    "sendfile": "nothing to choose",
    "reuse_port": "each worker has a listener of its own (see --balance)",
    "worker_tmp_dir": "workers beat in shared memory, not in a file",
    "do_handshake_on_connect": "nothing to choose",
    "suppress_ragged_eofs": "nothing to choose",
    "tmp_upload_dir": "bodies are not kept in files",
    "initgroups": "--user sets the user's groups, too",
    "default_proc_name": "use name",
}

_OTHERS: Final = (
    "bind", "workers", "worker_class", "threads", "max_requests_jitter", "timeout",
    "graceful_timeout", "limit_request_field_size", "reload", "reload_engine",
    "reload_extra_files", "spew", "check_config", "print_config", "daemon", "raw_env",
    "secure_scheme_headers", "forwarded_allow_ips", "accesslog", "errorlog",
    "disable_redirect_access_to_syslog", "logger_class", "logconfig_dict", "logconfig_json",
    "syslog_addr", "syslog", "syslog_prefix", "syslog_facility", "statsd_host", "dogstatsd_tags",
    "statsd_prefix", "enable_backlog_metric", "proc_name", "pythonpath", "paste",
    "raw_paste_global_conf", "proxy_protocol", "proxy_allow_ips", "protocol", "uwsgi_allow_ips",
    "ssl_version", "http_protocols", "http2_cleartext", "http2_max_concurrent_streams",
    "http2_initial_window_size", "http2_max_frame_size", "http2_max_header_list_size",
    "permit_obsolete_folding", "strip_header_spaces", "permit_unconventional_http_method",
    "permit_unconventional_http_version", "casefold_http_method", "forwarder_headers",
    "header_map", "asgi_disconnect_grace_period", "http_parser", "dirty_apps", "dirty_workers",
    "dirty_timeout", "dirty_threads", "dirty_graceful_timeout", "control_socket",
    "control_socket_mode", "control_socket_disable", "config",
)  # fmt: skip

SETTINGS: Final = frozenset({*_HOOKS, *_SAME, *_WHERE_KNOWN, *_NO_EFFECT, *_OTHERS})
"""Every setting of gunicorn. (Other names in its file are the file's own variables.)"""


def read(path: str) -> Imported:
    """Execute the file at ``path`` in a process of its own. Raises `ConfigError`."""
    return translate(os.path.basename(path), _execute(path))


def translate(source: str, found: Mapping[str, Any]) -> Imported:
    """What the settings that were ``found`` in the file ``source`` are here."""
    imported = Imported(source)
    imported.notes.append("It is a Python program; these are the values that it came to here.")
    given = {name.lower(): value for name, value in found.items()}
    for name, value in given.items():
        _translate(imported, name, value, given)
    if "accesslog" not in given:
        imported.take("access-log", False, "gunicorn writes none unless told to")
    return imported


def _translate(imported: Imported, name: str, value: Any, given: Mapping[str, Any]) -> None:
    if name in _HOOKS:
        _hook(imported, name, value)
    elif value is None:
        return  # gunicorn's own default
    elif isinstance(value, dict) and conf_trial.OBJECT in value:
        kind = value[conf_trial.OBJECT]
        imported.leave(name, f"an object of the class {kind} cannot stand in a file")
    elif name in _SPECIAL:
        _SPECIAL[name](imported, value, given)
    elif name in _SAME:
        imported.take(_SAME[name], value, name)
    elif name in _WHERE_KNOWN:
        key, instead = _WHERE_KNOWN[name]
        imported.take_if_known(key, value, name, instead)
    elif name in _NO_EFFECT:
        imported.leave(name, _NO_EFFECT[name])
    elif value:
        answer = answer_to(name.replace("_", "-")) or answer_to(_FLAGS.get(name, ""))
        imported.leave(name, answer or "there is nothing like it here")


def _hook(imported: Imported, name: str, value: Any) -> None:
    ours = _HOOKS[name]
    function = value.get("callable", name) if isinstance(value, dict) else name
    if ours and ours in OPTIONS:
        key = ours.replace("_", "-")
        imported.leave(
            f"{name}()",
            f"put the function into a module and write {key} = 'MODULE:{function}'; "
            "it is called without gunicorn's arguments",
        )
    else:
        imported.leave(
            f"{name}()",
            "nothing is called at that moment; the application's start-up (lifespan, import) and "
            "`tercio events` take most of its uses",
        )


def _bind(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    listed = value if isinstance(value, list) else str(value).split(",")
    imported.take("bind", [_address(str(each).strip()) for each in listed], "bind")


def _address(text: str) -> str:
    """gunicorn's notation of an address in ours."""
    text = text.removeprefix("tcp://").removeprefix("http://")
    if text.startswith("unix:"):
        return "unix:" + text.removeprefix("unix:").removeprefix("//")
    if text.startswith("fd://"):
        return "fd:" + text.removeprefix("fd://")
    if text.startswith(":"):
        return f"0.0.0.0{text}"
    host, colon, port = text.rpartition(":")
    return (
        text
        if colon and port.isdecimal() and (host.count(":") == 0 or "]" in host)
        else (f"{text}:8000")
    )


def _workers(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    remark = "or 'auto': one a core, as quota and memory allow"
    imported.take("workers", value, remark, name="workers")


def _worker_class(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    name = value.get("callable", "") if isinstance(value, dict) else str(value)
    kind = name.rpartition(".")[2].lower()
    if kind in ("sync", "syncworker") and int(given.get("threads") or 1) == 1:
        imported.take(
            "threads", 1, "worker_class sync: one at a time; more if the application allows it"
        )
    elif "gevent" in kind or "eventlet" in kind:
        connections = min(int(given.get("worker_connections") or 1000), 1000)
        imported.take(
            "threads", max(int(given.get("threads") or 1), min(connections, 100)),
            f"worker_class {kind}: threads, nothing is monkey-patched",
        )  # fmt: skip
    elif "uvicorn" in name.lower() or kind in ("asgi", "asgiworker"):
        imported.notes.append("The worker class was ASGI's; Tercio serves ASGI by itself.")
    elif kind not in ("sync", "syncworker", "gthread", "threadworker"):
        imported.leave("worker_class", f"{name} is not known; ASGI and WSGI are served")


def _threads(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    if value != 1 or "worker_class" not in given:
        imported.take("threads", value, "threads")


def _jitter(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    most = given.get("max_requests") or 0
    if most and value:
        share = min(1.0, round(float(value) / float(most), 2))
        imported.take("limit-jitter", share, f"max_requests_jitter {value}, as a share")


def _timeout(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    imported.take("blocked-kill", value, "timeout: ends a worker whose event loop is held")
    kind = str(given.get("worker_class") or "sync")
    if kind == "sync" and int(given.get("threads") or 1) == 1:
        imported.take("timeout-request", value, "timeout: a slow request gets 504, no worker ends")


def _graceful(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    imported.take("stop-timeout", value, "graceful_timeout, at a stop")
    imported.take("drain-timeout", value, "graceful_timeout, at a reload")


def _forwarded(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    text = ",".join(value) if isinstance(value, list) else str(value)
    imported.take("forwarded-allow-ips", text, "forwarded_allow_ips")


def _access(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    imported.take("access-log", True, "accesslog")
    if value != "-":
        imported.take_if_known(
            "access-log-file", value, "accesslog", "access lines go to standard output; redirect it"
        )


def _errors(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    if value != "-":
        imported.take_if_known(
            "error-log-file", value, "errorlog", "the log goes to standard error; redirect it"
        )


def _environment(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    listed = value if isinstance(value, list) else [value]
    # Not their values: they may be secrets.
    found = ", ".join(str(each).partition("=")[0] for each in listed)
    imported.leave("raw_env", f"put {found} into a file, NAME=value a line, and name it: env-file")


def _name(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    imported.take("name", value, "proc_name")


def _python_path(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    first, *rest = str(value).split(",")
    imported.take("app-dir", first, "pythonpath")
    if rest:
        imported.leave("pythonpath", f"only one directory: set PYTHONPATH for {', '.join(rest)}")


def _reload(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    if value:
        imported.leave("reload", "use `tercio dev` while you write")


def _field_size(imported: Imported, value: Any, given: Mapping[str, Any]) -> None:
    imported.leave("limit_request_field_size", "limit-head bounds the whole head (64 KiB)")


_SPECIAL: Final[dict[str, Callable[[Imported, Any, Mapping[str, Any]], None]]] = {
    "bind": _bind,
    "workers": _workers,
    "worker_class": _worker_class,
    "threads": _threads,
    "max_requests_jitter": _jitter,
    "timeout": _timeout,
    "graceful_timeout": _graceful,
    "forwarded_allow_ips": _forwarded,
    "accesslog": _access,
    "errorlog": _errors,
    "raw_env": _environment,
    "proc_name": _name,
    "pythonpath": _python_path,
    "reload": _reload,
    "limit_request_field_size": _field_size,
}

_FLAGS: Final = {
    "syslog": "log-syslog",
    "syslog_addr": "log-syslog-to",
    "syslog_prefix": "log-syslog-prefix",
    "syslog_facility": "log-syslog-facility",
    "logconfig_dict": "logger-class",
    "logconfig_json": "log-config-json",
    "reload_extra_files": "reload-extra-file",
    "proxy_allow_ips": "proxy-allow-from",
    "uwsgi_allow_ips": "uwsgi-allow-from",
    "raw_paste_global_conf": "paste-global",
    "secure_scheme_headers": "forwarder-headers",
    "control_socket_disable": "no-control-socket",
}
"""Settings that have a flag of another name."""


def _execute(path: str) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    command = [
        sys.executable, "-m", "tercio.cli.conf_trial", str(write_end), path,
        json.dumps(sorted(SETTINGS)),
    ]  # fmt: skip
    with open(read_end, "rb") as report:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=[write_end],
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{path} was executed, and not done after {_PATIENCE:g} s") from None
        finally:
            # With all that it started: they have none of its limits to fear any more.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        answer = report.read()
    if not answer:
        raise ConfigError(
            f"{path} was executed, and ended its process (status {process.returncode}); it has "
            f"{conf_trial.SECONDS} s of CPU time and {conf_trial.MEMORY >> 30} GiB, and may write "
            "no file"
        )
    told: dict[str, Any] = json.loads(answer)
    if "exit" in told:
        raise ConfigError(
            f"{path} ends the program that reads it (sys.exit, with {told['exit']}), so that "
            "nothing can be learned from it"
        )
    if "error" in told:
        raise ConfigError(f"{path} cannot be executed:\n{told['error'].rstrip()}")
    found: dict[str, Any] = told["found"]
    return found
