"""A WSGI application whose requests hang costs its clients a time-out, and never the service."""

from tests.cluster.harness import QUICK, Cluster

APP = """
import os
import threading


def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        threading.Event().wait()  # here it hangs
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"pid {os.getpid()}".encode()]
"""


def test_hanging_threads_are_shown_and_replaced_with_their_worker(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", *QUICK, "--threads", "2", "--timeout-request", "0.5")
    before = cluster.pids()
    assert cluster.get("/hang").status == 504
    overdue = cluster.wait("RequestOverdue")
    line = next(n for n, text in enumerate(APP.splitlines(), 1) if "here it hangs" in text)
    assert overdue["culprit"] == f"app.py:{line} in app"
    assert "threading.Event().wait()" in overdue["stack"]
    assert overdue["request"] == "GET /hang"
    cluster.wait_line("here it hangs")  # the log has the stack, too
    planned = cluster.wait("RetirementPlanned")
    assert planned["worker"] == overdue["worker"]
    assert "1 of its 2 threads are stuck in requests" in planned["reason"]
    left = cluster.wait("WorkerLeft")
    assert left["worker"] == overdue["worker"]
    after = cluster.pids()
    assert len(set(before.values()) & set(after.values())) == 1
    assert {cluster.get().status for _ in range(20)} == {200}
    assert "tercio_overdue_total 1" in cluster.tercio("metrics").stdout
