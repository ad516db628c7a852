"""The admin API with TLS of its own, beside workers that speak none."""

import http.client
import json
import secrets
import ssl
from pathlib import Path

import trustme

from tercio.config import OPTIONS, Config
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.test_admin import write_tokens


def test_it_speaks_tls_and_its_cookie_is_for_that_alone(cluster: Cluster, tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(chain))
    made.private_key_pem.write_to_path(str(key))
    token = secrets.token_urlsafe(32)
    write_tokens(tmp_path / "tokens", {"operate": token})
    options = ("--admin-ssl-certfile", str(chain), "--admin-ssl-keyfile", str(key))
    tokens = ("--admin-token-file", str(tmp_path / "tokens"))
    cluster.start("-w", "1", *QUICK, "--admin", "0.0.0.0:0", *options, *tokens)
    url = cluster.first("SidecarStarted")["admin"][0]
    assert url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection(
        "localhost", int(url.rpartition(":")[2]), timeout=PATIENCE, context=context
    )
    try:
        headers = {"content-type": "application/json"}
        body = json.dumps({"token": token})
        connection.request("POST", "/api/v1/login", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert "; Secure" in str(answer.getheader("set-cookie"))
    finally:
        connection.close()
    assert cluster.get("/").status == 200


def test_nothing_is_opened_by_default() -> None:
    config = Config()
    found = {name: getattr(config, name) for name in OPTIONS if name.startswith("admin")}
    assert found == {
        "admin": "",
        "admin_token_file": "",
        "admin_host": (),
        "admin_ssl_certfile": "",
        "admin_ssl_keyfile": "",
        "admin_insecure": False,
    }
    assert (config.health, config.min_ready) == ("", 1)
