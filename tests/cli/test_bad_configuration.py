"""Every mistake exits with 2, and names the key, the value or the line, and what is allowed."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import Tercio


@dataclass(frozen=True)
class Mistake:
    """Something a person may write, and what the answer must hold."""

    name: str
    says: tuple[str, ...]
    flags: tuple[str, ...] = ()
    file: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    project: str = ""


def flag(flags: str, *says: str) -> Mistake:
    return Mistake(flags, says, tuple(flags.split()))


def file(text: str, *says: str) -> Mistake:
    return Mistake(text[:60], says, file=text)


def variable(name: str, value: str, *says: str) -> Mistake:
    return Mistake(f"{name}={value}", (name, *says), environ={name: value})


MISTAKES = [
    flag("--workers four", "--workers 'four'", "auto or a whole number from 1 to 1024"),
    flag("--workers 0", "--workers '0'", "from 1"),
    flag("--workers -3", "--workers '-3'", "from 1"),
    flag("-w 2.5", "--workers '2.5'", "whole number"),
    flag("-w 8 --max-workers 4", "--workers '8'", "at most --max-workers '4'"),
    flag("--port 65536", "--port '65536'", "0 to 65535"),
    flag("--port http", "--port 'http'", "0 to 65535"),
    flag("--host 1.2.3", "--host '1.2.3'", "host name or an IP address"),
    flag("--host http://x", "--host 'http://x'", "host name or an IP address"),
    flag("--host ::zz", "--host '::zz'", "not an IPv6 address"),
    flag("-b 127.0.0.1", "--bind '127.0.0.1'", "HOST:PORT", "the port is missing"),
    flag("-b ::1:80", "--bind '::1:80'", "'[::1]:80'"),
    flag("-b [::1:80", "--bind '[::1:80'", "HOST:PORT"),
    flag("-b a:99999", "--bind 'a:99999'", "0 to 65535"),
    flag("-b unix:", "--bind 'unix:'", "unix:PATH"),
    flag("-b fd:x", "--bind 'fd:x'", "fd:N"),
    flag("-b unix:@hidden", "--bind '@hidden'", "abstract", "unix:PATH"),
    flag(f"--uds /{'x' * 120}", "--uds '/xxx", "bytes"),
    flag("--uds /run/", "--uds '/run/'", "path of a file"),
    flag("--uds /a --host ::1", "--host '::1' and --uds '/a'", "one of host and port, bind, uds"),
    flag("--uds /a -b :80 --fd 3", "--bind", "--uds '/a'", "--fd '3'", "one of"),
    flag("--fd x", "--fd 'x'", "whole number", "none"),
    flag("--uds-permissions 999", "--uds-permissions '999'", "octal"),
    flag("--backlog 0", "--backlog '0'", "from 1"),
    flag("--interface asgi3", "--interface 'asgi3'", "auto, asgi, wsgi or callable"),
    flag("--server hypercorn", "--server 'hypercorn'", "expected tercio, uvicorn or granian"),
    flag("--lifespan maybe", "--lifespan 'maybe'", "auto, on or off"),
    flag("--log-level loud", "--log-level 'loud'", "critical, error", "trace"),
    flag("--stop-timeout soon", "--stop-timeout 'soon'", "30s, 5m or 1h"),
    flag("--stop-timeout -1", "--stop-timeout '-1'", "duration"),
    flag("--graceful-timeout 1w", "--stop-timeout '1w'", "duration"),
    flag("--start-timeout 0", "--start-timeout '0'", "at least"),
    flag("--limit-max-memory 300", "--limit-max-memory '300'", "300MB", "at least 16MiB"),
    flag("--limit-max-memory lots", "--limit-max-memory 'lots'", "300MB, 300MiB or 1G"),
    flag("--limit-jitter 1.5", "--limit-jitter '1.5'", "from 0 to 1"),
    flag("--limit-jitter nan", "--limit-jitter 'nan'", "from 0 to 1"),
    flag("--backoff-base 9s --backoff-cap 1s", "--backoff-base '9s'", "--backoff-cap '1s'"),
    flag("--worker-limit ram=1GB", "--worker-limit 'ram=1GB'", "memory=SIZE, nofile=N or cpu=TIME"),
    flag("--worker-limit nofile=3", "--worker-limit 'nofile=3'", "less than 64"),
    flag("--header nonsense", "--header 'nonsense'", "'Name: value'"),
    flag("--forwarded-allow-ips 10.0.0.1/8", "'10.0.0.1/8'", "networks such as 10.0.0.0/8"),
    flag("--forwarded-allow-ips proxy", "--forwarded-allow-ips 'proxy'", "IP addresses"),
    flag("--ready-path healthz", "--ready-path 'healthz'", "begins with '/'"),
    flag("--name a/b", "--name 'a/b'", "letters, digits"),
    flag("--app-dir nowhere", "--app-dir 'nowhere'", "expected a directory"),
    flag("--ssl-keyfile k", "--ssl-keyfile 'k'", "expected ssl-certfile beside it"),
    flag("--ssl-certfile nope.pem", "--ssl-certfile 'nope.pem'", "readable file", "No such file"),
    flag("--ssl-cert-reqs 3", "--ssl-cert-reqs '3'", "none, optional or required"),
    flag("--env-file nope", "--env-file 'nope'", "expected a file"),
    flag("--config nope.toml", "--config 'nope.toml'", "expected a TOML file"),
    flag("--wrkers 3", "'--wrkers'", "did you mean '--workers'"),
    flag("--timeout 30", "--timeout '30'", "--blocked-kill"),
    flag("-k uvicorn.workers.UvicornWorker", "-k", "ASGI and WSGI", "--interface"),
    flag("--reload", "--reload:", "tercio reload"),
    flag("--max-requests-jitter 5", "--max-requests-jitter '5'", "--limit-jitter"),
    flag("--workers", "--workers", "requires an argument"),
    file("wrkers = 3\n", "tercio.toml:1", "'wrkers' = 3", "did you mean 'workers'"),
    file("\n\nworkers = 'many'\n", "tercio.toml:3: workers = 'many'", "auto or a whole number"),
    file("workers = true\n", "tercio.toml:1: workers = True", "whole number"),
    file("workers = 2.0\n", "tercio.toml:1: workers = 2.0", "whole number"),
    file("log-level = 3\n", "tercio.toml:1: log-level = 3", "critical, error"),
    file("access-log = 'maybe'\n", "tercio.toml:1: access-log = 'maybe'", "true or false"),
    file("uds-permissions = 660\n", "tercio.toml:1: uds-permissions = 660", '"660"'),
    file("bind = [':80', 81]\n", "tercio.toml:1: bind = 81", "HOST:PORT"),
    file("stop-timeout = 1\nstop_timeout = 2\n", "tercio.toml:2", "again, after tercio.toml:1"),
    file("timeout = 30\n", "tercio.toml:1", "'timeout' = 30", "--blocked-kill"),
    file("[tool.tercio]\nworkers = 3\n", "tercio.toml:1", "'tool'", "top level"),
    file("workers = \n", "tercio.toml:1: 'workers ='", "expected TOML"),
    file("header = ['a: b'\n", "tercio.toml:2", "expected TOML"),
    file("workers = 3\nworkers = 4\n", "tercio.toml:2: 'workers = 4'", "expected TOML"),
    file("app = 'src/main.py:app'\n", "tercio.toml:1: app = 'src/main.py:app'", "'src.main:app'"),
    Mistake(
        "pyproject",
        ("pyproject.toml:3: workers = -1", "auto or a whole number"),
        project="[tool.tercio]\n# none\nworkers = -1\n",
    ),
    Mistake("no table", ("pyproject.toml", "expected a table"), project="tool.tercio = 3\n"),
    variable("TERCIO_WORKERS", "many", "environment: TERCIO_WORKERS='many'", "whole number"),
    variable("WEB_CONCURRENCY", "0", "environment: WEB_CONCURRENCY='0'", "from 1"),
    variable("PORT", "tcp://10.0.0.1:80", "'tcp://10.0.0.1:80'", "0 to 65535"),
    variable("FORWARDED_ALLOW_IPS", "nginx", "'nginx'", "IP addresses"),
    variable("TERCIO_BIND", ":80,:x", "':x'", "HOST:PORT"),
    variable("TERCIO_CONFIG", "gone.toml", "'gone.toml'", "expected a TOML file"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_named(tercio: Tercio, mistake: Mistake) -> None:
    Path("tercio.toml").write_text(mistake.file)
    Path("pyproject.toml").write_text(mistake.project)
    if mistake.project:
        Path("tercio.toml").unlink()
    app = () if "app = " in mistake.file else ("shop.main:app",)
    result = tercio("run", *app, *mistake.flags, env=mistake.environ)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for words in mistake.says:
        assert words in result.stderr
    assert "Traceback" not in result.stderr


APPS = ["shop/main.py", "main.py:app", "shop:create()", "a:b:c", "shop:", ":app", "a-b:c", "a b"]


@pytest.mark.parametrize("app", APPS)
def test_an_application_is_a_module_and_an_attribute(tercio: Tercio, app: str) -> None:
    result = tercio("run", app)
    assert result.exit_code == 2
    assert re.search(f"APP '{re.escape(app)}': expected MODULE:ATTRIBUTE", result.stderr)


def test_an_application_is_needed(tercio: Tercio) -> None:
    result = tercio("run")
    assert result.exit_code == 2
    assert "app: expected the application, MODULE:ATTRIBUTE" in result.stderr


def test_all_mistakes_are_told_at_once(tercio: Tercio) -> None:
    Path("tercio.toml").write_text("wrkers = 3\nport = -1\nbind = 'x'\n")
    result = tercio("run", "--threads", "none", env={"TERCIO_SURGE": "0"})
    assert result.exit_code == 2
    assert "5 options cannot be used" in result.stderr
    for words in ("tercio.toml:1", "tercio.toml:2", "tercio.toml:3", "--threads", "TERCIO_SURGE"):
        assert words in result.stderr


def test_what_is_wrong_is_never_printed_raw(tercio: Tercio) -> None:
    evil = "\x1b]0;owned\x07\n\u202e"
    Path("tercio.toml").write_text('name = "\\u001b[31mred"\n"\\u001b" = 1\n')
    result = tercio("run", evil, "--log-level", evil)
    assert result.exit_code == 2
    assert not set("\x1b\x07\u202e") & set(result.stderr)
    assert "\\x1b[31mred" in result.stderr
    assert "\x1b" not in tercio("run", "a:b", f"--{evil}").stderr


def test_a_password_is_not_repeated_in_a_message(tercio: Tercio) -> None:
    result = tercio("run", "a:b", "--ssl-keyfile-password", "hunter2\x01")
    assert result.exit_code == 2
    assert "--ssl-keyfile-password ***: expected" in result.stderr
    assert "hunter2" not in result.stderr
