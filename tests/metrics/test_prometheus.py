"""prometheus_client's metrics count in ours: each test is a process that imports it anew."""

import os
import subprocess
import sys
from pathlib import Path

BEGIN = """
import os, sys
from tercio.metrics import LocalMetrics
from tercio.metrics.prometheus import adopt
metrics, notes = LocalMetrics(), []
adopt(lambda: metrics, notes.append)
assert "prometheus_client" not in sys.modules, "who does not use it does not pay for it"
"""


def run(code: str, **environ: str) -> None:
    clean = {k: v for k, v in os.environ.items() if "prometheus" not in k.lower()}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + code],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_kind_of_metric_is_ours_without_a_file(tmp_path: Path) -> None:
    code = """
import prometheus_client as p
os.chdir(os.environ["WHERE"])
counter = p.Counter("orders", "Orders", ["kind"])
counter.labels("book").inc(2)
counter.labels(kind="pen").inc()
p.Histogram("latency", "Seconds", ["path"], buckets=(1, 2)).labels("/").observe(1.5)
p.Summary("size", "Bytes").observe(7)
p.Gauge("level", "Level", multiprocess_mode="livemax").set(4)
p.Gauge("newest", "Newest", multiprocess_mode="mostrecent").set(5)
p.Gauge("each", "Each").set(6)
snapshot = metrics.read()
assert snapshot["orders_total"] == 3
assert snapshot.value("orders_total", kind="book") == 2
found = snapshot.distribution("latency", path="/")
assert (found.count, found.sum, found.buckets[2.0]) == (1, 1.5, 1)
assert (snapshot.distribution("size").count, snapshot.distribution("size").sum) == (1, 7)
assert (snapshot["level"], snapshot["newest"]) == (4, 5)
assert snapshot.value("each", pid=os.getpid()) == 6
assert 'orders_total{kind="book"} 2.0' in metrics.text()
assert 'latency_bucket{le="2.0",path="/"} 1.0' in metrics.text()
assert os.listdir(".") == []
"""
    run(code, WHERE=str(tmp_path))


def test_the_library_itself_reads_what_it_wrote(tmp_path: Path) -> None:
    code = """
import prometheus_client as p
c = p.Counter("orders", "Orders", ["kind"])
c.labels("book").inc(2)
assert p.REGISTRY.get_sample_value("orders_total", {"kind": "book"}) == 2
assert "orders_total" in p.generate_latest().decode()
c.clear()
c.labels("book").inc()
assert metrics.read()["orders_total"] == 3, "what was counted stays counted"
"""
    run(code)


def test_its_own_way_with_several_processes_is_left_alone_and_noted(tmp_path: Path) -> None:
    code = """
import prometheus_client as p
p.Counter("orders", "Orders").inc()
assert "orders_total" not in metrics.read()
assert len(notes) == 1 and "PROMETHEUS_MULTIPROC_DIR is set" in notes[0], notes
assert os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])
"""
    run(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))


def test_a_library_that_was_imported_before_takes_ours_from_then_on() -> None:
    code = """
import prometheus_client as p
from tercio.metrics import prometheus
p.values.ValueClass = p.values.MutexValue
prometheus.adopt(lambda: metrics)
p.Counter("orders", "Orders").inc(4)
assert metrics.read()["orders_total"] == 4
"""
    run(code)


def test_a_fork_counts_for_itself() -> None:
    code = """
import prometheus_client as p
c = p.Counter("orders", "Orders")
c.inc()
if (child := os.fork()) == 0:
    metrics.leave()  # a cluster's worker does it by itself
    c.inc(9)
    os._exit(0 if metrics.read()["orders_total"] == 9 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert metrics.read()["orders_total"] == 1
"""
    run(code)


def test_two_applications_that_mean_one_name_add_up_in_one_series() -> None:
    code = """
import prometheus_client as p
p.Counter("orders", "Theirs").inc(2)
metrics.counter("orders", "Ours").inc(3)
assert metrics.read()["orders_total"] == 5
"""
    run(code)
