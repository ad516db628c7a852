"""Let schemathesis ask a real cluster whatever the admin API's document allows, and what not."""

import secrets
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from tests.cluster.harness import QUICK, Cluster
from tests.ports import free_port

# Streams have no end, and a stop would be the end.
LEFT_OUT = "/(events|stream|stop)$"


def main(program: str, *options: str) -> int:
    """Run ``program``, with its own options; return its exit code."""
    with tempfile.TemporaryDirectory() as name:
        cluster = Cluster(Path(name), uuid.uuid4().hex)
        token, port = secrets.token_urlsafe(32), free_port()
        tokens = cluster.directory / "tokens"
        tokens.touch(0o600)
        tokens.write_text(f"operate {token}\n")
        admin = ("--admin", f"127.0.0.1:{port}", "--admin-token-file", str(tokens))
        try:
            cluster.start("-w", "1", "--max-workers", "2", *QUICK, *admin)
            code = subprocess.call([
                Path(program).absolute(), "run", f"http://127.0.0.1:{port}/api/v1/openapi.json",
                "--header", f"Authorization: Bearer {token}", "--exclude-path-regex", LEFT_OUT,
                "--phases", "coverage,fuzzing", "--continue-on-failure",
                "--generation-database", ":memory:", *options,
            ], cwd=cluster.directory)  # fmt: skip
            assert not cluster.has_ended(), cluster.story()
            assert "Traceback" not in cluster.story(), cluster.story()
            return code
        finally:
            cluster.clean_up()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
