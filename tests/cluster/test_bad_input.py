"""Wrong names, broken apps and broken files: one clear message, and what runs runs on.

tests/cli has the long table of wrong options; here real processes meet them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tercio
from tests.cluster.harness import DEFAULT_APP, QUICK, Cluster

NewCluster = Callable[[], Cluster]

OURS = str(Path(tercio.__file__).parent)


@dataclass(frozen=True)
class Mistake:
    """A start that must fail: how, with what exit code, and what it must say."""

    name: str
    code: int
    says: tuple[str, ...]
    app: str = "app:app"
    flags: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


MISTAKES = [
    Mistake("bad option", 2, ("--workers 'many'", "auto or a whole number"), flags=("-w", "many")),
    Mistake("unknown option", 2, ("--wrkers", "'--workers'"), flags=("--wrkers", "3")),
    Mistake(
        "bad file", 2, ("tercio.toml:2: workers = 'many'",),
        files={"tercio.toml": "\nworkers = 'many'\n"},
    ),
    Mistake("broken file", 2, ("tercio.toml:1", "TOML"), files={"tercio.toml": "workers =\n"}),
    Mistake("missing app", 1, ("no module named 'ap'", "did you mean app"), app="ap:app"),
    Mistake("missing part", 1, ("no module named 'shop'",), app="shop.main:app"),
    Mistake("wrong attribute", 1, ("module 'app' has no 'ap'", "app"), app="app:ap"),
    Mistake("no callable", 1, ("is a str, not an application",), app="app:RELEASE"),
    Mistake(
        "import error", 1, ("ModuleNotFoundError: No module named 'nowhere'", "app.py"),
        files={"app.py": "import nowhere\n"},
    ),
    Mistake(
        "exception", 1, ("RuntimeError: no database", 'app.py", line 2, in connect'),
        files={"app.py": "def connect():\n    raise RuntimeError('no database')\nconnect()\n"},
    ),
    Mistake(
        "long message", 1, ("exited with 70: ValueError: 1 field is wrong\n",),
        files={"app.py": "raise ValueError('1 field is wrong\\n  port\\nFor more see a page')\n"},
    ),
    Mistake("syntax error", 1, ("SyntaxError", "app.py"), files={"app.py": "def (\n"}),
    Mistake("exit", 1, ("SystemExit: 3",), files={"app.py": "import sys; sys.exit(3)\n"}),
    Mistake(
        "lifespan", 1, ("OSError: no route to the queue", "app.py"),
        flags=("--lifespan", "on"),
        files={"app.py": "async def app(*_):\n    raise OSError('no route to the queue')\n"},
    ),
    Mistake(
        "never ready", 1, ("GET /healthz answered 404", "--ready-path"),
        flags=("--ready-path", "/healthz", "--ready-timeout", "0.3"),
        files={"app.py": DEFAULT_APP.replace('"status": 200', '"status": 404')},
    ),
    Mistake(
        "no such address", 1, ("192.0.2.1", "--host"), flags=("--bind", "192.0.2.1:8000")
    ),
    Mistake("runtime directory", 1, ("runtime directory", "--runtime-dir"),
            flags=("--runtime-dir", "/dev/null/x")),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_start_that_cannot_work_says_why(cluster: Cluster, mistake: Mistake) -> None:
    cluster.write_app()
    for name, text in mistake.files.items():
        (cluster.directory / name).write_text(text)
    cluster.start("-w", "2", *mistake.flags, app=mistake.app, wait="")
    assert cluster.wait_end() == mistake.code, cluster.story()
    output = "\n".join(cluster.lines)
    for words in mistake.says:
        assert words in output
    assert OURS not in output, "a frame of ours in a message about the application"
    if mistake.code == 2 or "Traceback" not in output:
        assert output.count(mistake.says[0]) <= 4


def test_a_traceback_of_many_workers_is_shown_once(cluster: Cluster) -> None:
    cluster.write_app("raise RuntimeError('no database')\n")
    cluster.start("-w", "4", wait="")
    assert cluster.wait_end() == 1
    output = "\n".join(cluster.lines)
    assert output.count("Traceback (most recent call last)") == 1


def test_a_directory_that_is_gone_is_one_message(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-m", "tercio", "run", "app:app", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=gone, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("tercio: the working directory no longer exists")
    assert len(done.stderr.splitlines()) == 1


BAD_RELOADS = [
    ("workers = 'many'\n", ("tercio.toml:1: workers = 'many'", "auto or a whole number")),
    ("workers =\n", ("tercio.toml:1", "TOML")),
    ("wrkers = 3\n", ("tercio.toml:1", "did you mean 'workers'")),
    ("ssl-certfile = 'gone.pem'\n", ("tercio.toml:1", "readable file")),
    ("backlog = 1\n", ("backlog changed from '2048' to '1'", "restart the cluster")),
    ("workers = 3\n", ("workers changed from '2' to '3'", "tercio scale")),
]


def test_a_reload_with_a_bad_file_keeps_the_old_configuration(cluster: Cluster) -> None:
    file = cluster.directory / "tercio.toml"
    file.write_text("workers = 2\nheader = ['X-Release: one']\n")
    cluster.start(*QUICK)
    before = cluster.pids()
    for text, says in BAD_RELOADS:
        file.write_text(text)
        done = cluster.tercio("reload")
        assert done.returncode == 1
        for words in ("the old configuration goes on", *says):
            assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert cluster.pids() == before
    assert cluster.get().status == 200
    running = json.loads(cluster.tercio("config", "--running", "--json").stdout)
    assert running["config"]["header"] == ["X-Release: one"]
    # Mended, the next reload takes what is new.
    file.write_text("workers = 2\nheader = ['X-Release: two']\n")
    assert cluster.tercio("reload").returncode == 0
    running = json.loads(cluster.tercio("config", "--running", "--json").stdout)
    assert running["config"]["header"] == ["X-Release: two"]


def test_a_reload_without_the_files_of_the_start_is_refused(cluster: Cluster) -> None:
    file, variables = cluster.directory / "tercio.toml", cluster.directory / "app.env"
    text = "header = ['X-Release: one']\nenv-file = ['app.env']\n"
    file.write_text(text)
    variables.write_text("GREETING=hello\n")
    cluster.start("-w", "1", *QUICK)
    for gone, says in (
        (file, "tercio.toml was read at the start and is gone"),
        (variables, "'app.env': expected a file of UTF-8 text; No such file"),
    ):
        kept = gone.read_text()
        gone.unlink()
        done = cluster.tercio("reload")
        assert done.returncode == 1
        assert "the old configuration goes on" in done.stderr
        assert says in done.stderr
        gone.write_text(kept)
    running = json.loads(cluster.tercio("config", "--running", "--json").stdout)
    assert running["config"]["header"] == ["X-Release: one"]
    # An empty file is meant.
    file.write_text("")
    assert cluster.tercio("reload").returncode == 0
    running = json.loads(cluster.tercio("config", "--running", "--json").stdout)
    assert running["config"]["header"] == []


# --- what comes from outside is shown, never obeyed ---------------------------------------------

EVIL = "\x1b[31mred\r\nERROR:    forged\x07"

EVIL_APP = (
    f"EVIL = {EVIL!r}\n"
    + DEFAULT_APP.replace(
        'body = f"', "if scope['path'] == '/exit':\n        os._exit(3)\n    body = f\""
    )
    + "\nif os.path.exists('broken'):\n    raise RuntimeError(EVIL)\n"
)


def test_no_name_path_or_error_can_command_a_terminal(cluster: Cluster) -> None:
    cluster.directory = cluster.directory / EVIL.replace("/", "")
    cluster.directory.mkdir()
    cluster.write_app(EVIL_APP)
    cluster.environ["PWD"] = str(cluster.directory)
    cluster.environ["TERCIO_\x1b[31m"] = "1"
    cluster.start("-w", "1", *QUICK, "--header", "X: y")
    (cluster.directory / "broken").touch()
    shown = [cluster.tercio(*words) for words in (("status",), ("reload",), ("status",))]
    assert shown[1].returncode == 1
    dump = cluster.tercio("dump", "0").stdout  # file names stand in it as they are
    shown += [
        cluster.tercio("events", "--no-follow"),
        cluster.tercio("config", "--running"),
        cluster.tercio("status", "--name", "x\x1by"),
        cluster.tercio("check", EVIL),
        cluster.tercio("stop"),
    ]
    cluster.wait_end()
    output = "\n".join([*cluster.lines, *(done.stdout + done.stderr for done in shown)])
    assert "\\x1b[31mred" in output
    for character in "\x1b\r\x07":
        assert character not in output + dump
    assert not [line for line in output.split("\n") if line.startswith("ERROR:    forged")]


# --- secrets -----------------------------------------------------------------------------------

PASSWORDS = ("hunter2-in-the-file", "hunter3-in-the-environment", "hunter4-on-the-command-line")


@pytest.mark.parametrize("place", ["file", "environment", "flag"])
def test_a_password_is_shown_nowhere(cluster: Cluster, place: str) -> None:
    _encrypted_pair(cluster.directory, PASSWORDS[0])
    password = PASSWORDS[0]
    file = cluster.directory / "tercio.toml"
    tls = "ssl-certfile = 'cert.pem'\nssl-keyfile = 'key.pem'\n"
    in_file = f"ssl-keyfile-password = '{password}'\n"
    file.write_text(tls + (in_file if place == "file" else ""))
    if place == "environment":
        cluster.environ["TERCIO_SSL_KEYFILE_PASSWORD"] = password
    flags = ("--ssl-keyfile-password", password) if place == "flag" else ()
    cluster.start("-w", "1", *QUICK, *flags)
    outputs = [Path(f"/proc/{pid}/cmdline").read_text() for pid in cluster.living()]
    assert len(outputs) >= 2
    outputs += [path.read_text() for path in cluster.runtime.rglob("*") if path.is_file()]
    if place == "file":
        file.write_text(tls + in_file.replace(password, PASSWORDS[1]))
        outputs.append(cluster.tercio("reload").stderr)
        assert "rejected" in outputs[-1] or "refused" in outputs[-1]
        file.write_text(tls + in_file + f"ssl-keyfile-pasword = '{PASSWORDS[2]}'\n")
        outputs.append(cluster.tercio("reload").stderr)
        assert "refused" in outputs[-1]
    for words in (
        ("status", "--json"), ("config", "--running"), ("config", "--running", "--json"),
        ("config", *flags), ("config", "--show-origin", "--json"), ("dump", "0"),
        ("events", "--no-follow", "--json"),
    ):  # fmt: skip
        done = cluster.tercio(*words)
        outputs += [done.stdout, done.stderr]
    assert any("***" in output for output in outputs)
    cluster.stop()
    outputs += cluster.lines
    for output in outputs:
        for secret in PASSWORDS:
            assert secret not in output


def _encrypted_pair(directory: Path, password: str) -> None:
    """A certificate and a key that only the password opens."""
    import trustme
    from cryptography.hazmat.primitives import serialization as s

    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    key = s.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        s.Encoding.PEM,
        s.PrivateFormat.PKCS8,
        s.BestAvailableEncryption(password.encode()),
    )
    (directory / "key.pem").write_bytes(encrypted)
    os.chmod(directory / "key.pem", 0o600)
