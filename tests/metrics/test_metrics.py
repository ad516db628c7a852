"""Counters, gauges and histograms as an application holds them, in a process of its own."""

import asyncio
import enum
import math
import os
import sys
import threading
import tracemalloc
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tercio.dataplane.shared import Shared
from tercio.metrics import LocalMetrics, Metrics, Snapshot


@pytest.fixture
def metrics() -> LocalMetrics:
    return LocalMetrics()


def test_a_counter_adds_up_and_keeps_its_labels_apart(metrics: LocalMetrics) -> None:
    orders = metrics.counter("orders", "Orders", ["kind", "paid"])
    orders.inc(kind="book", paid=True)
    orders.inc(2.5, paid=True, kind="book")
    orders.labels("pen", False).inc()
    snapshot = metrics.read()
    assert snapshot["orders_total"] == 4.5
    assert snapshot.value("orders_total", kind="book", paid=True) == 3.5
    assert snapshot.value("orders_total", kind="pen", paid=False) == 1
    assert snapshot.value("orders_total", kind="ink", paid=False) == 0
    assert asyncio.run(metrics.totals())["orders_total"] == 4.5


def test_values_that_are_equal_and_read_differently_are_different_labels(
    metrics: LocalMetrics,
) -> None:
    seen = metrics.counter("seen", labels=["what"])
    for what in (1, True, 1.0, "1"):
        seen.inc(what=what)
    assert [metrics.read().value("seen_total", what=w) for w in ("1", "True", "1.0")] == [2, 1, 1]


def test_the_same_name_is_the_same_metric(metrics: LocalMetrics) -> None:
    assert metrics.counter("orders") is metrics.counter("orders_total")
    with pytest.raises(ValueError, match="'orders' is a counter already"):
        metrics.gauge("orders")
    with pytest.raises(ValueError, match="other labels already"):
        metrics.counter("orders", labels=["kind"])
    metrics.histogram("latency", buckets=(1, 2))
    with pytest.raises(ValueError, match="other bounds already"):
        metrics.histogram("latency")


@pytest.mark.parametrize("name", ["", "1st", "a-b", "ö", "a b", "tercio_requests", "x" * 201])
def test_a_name_that_prometheus_or_the_cluster_would_not_take_is_refused(
    metrics: LocalMetrics, name: str
) -> None:
    for make in (metrics.counter, metrics.gauge, metrics.histogram):
        with pytest.raises(ValueError, match=r"cannot name a metric|cluster's own"):
            make(name)


class _Kind(str, enum.Enum):  # noqa: UP042 - as applications write it since long
    PEN = "pen"


def test_labels_count_together_whatever_way_they_are_given(metrics: LocalMetrics) -> None:
    orders = metrics.counter("orders", labels=["kind", "what"])
    for _ in range(2):  # the first time, and when they are known
        orders.labels("pen", "new").inc()
        orders.labels(kind="pen", what="new").inc()
        orders.labels(what="new", kind="pen").inc()
        orders.labels(_Kind.PEN, "new").inc()
        orders.labels(["a list"], "new").inc()
        with pytest.raises(ValueError, match="has the labels"):
            orders.labels("pen", "new", what="new")
    found = metrics.read()
    assert found.value("orders_total", kind="pen", what="new") == 8
    assert found.value("orders_total", kind="['a list']", what="new") == 2


@pytest.mark.parametrize("labels", [["a-b"], ["__x"], ["le"], ["a", "a"], "kind", ["n"]])
def test_labels_that_cannot_be_are_refused(metrics: LocalMetrics, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="label"):
        metrics.histogram("latency", labels=labels)


def test_labels_must_be_those_of_the_metric(metrics: LocalMetrics) -> None:
    orders = metrics.counter("orders", labels=["kind"])
    wrongs: tuple[dict[str, Any], ...] = ({}, {"sort": "x"}, {"kind": "x", "paid": "y"})
    for wrong in wrongs:
        with pytest.raises(ValueError, match="label"):
            orders.inc(**wrong)
    with pytest.raises(ValueError, match="has 1 labels, not 2"):
        orders.labels("a", "b")
    with pytest.raises(ValueError, match="has 0 labels"):
        metrics.counter("plain").labels("a")


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, -math.inf])
def test_a_counter_never_falls(metrics: LocalMetrics, wrong: float) -> None:
    counter = metrics.counter("orders")
    counter.inc(3)
    with pytest.raises(ValueError, match="a counter grows"):
        counter.inc(wrong)
    assert metrics.read()["orders_total"] == 3


def test_a_gauge_is_set_and_tracks_what_is_under_way(metrics: LocalMetrics) -> None:
    jobs = metrics.gauge("jobs", labels=["queue"])
    with jobs.track(queue="mail"), jobs.track(queue="mail"):
        assert metrics.read().value("jobs", queue="mail") == 2
    jobs.set(7, queue="print")
    jobs.dec(2, queue="print")
    assert metrics.read().value("jobs", queue="mail") == 0
    assert metrics.read().value("jobs", queue="print") == 5
    highest = metrics.gauge("highest", mode="max")
    assert metrics.read()["highest"] == 0
    highest.inc(4)
    assert metrics.read()["highest"] == 4
    with pytest.raises(ValueError, match="mode is one of"):
        metrics.gauge("other", mode="average")  # type: ignore[arg-type]


def test_a_histogram_counts_each_value_once_and_estimates_quantiles(metrics: LocalMetrics) -> None:
    latency = metrics.histogram("latency", buckets=(1, 2, 4, math.inf))
    for value in (0.5, 1, 1.5, 3, 100):
        latency.observe(value)
    found = metrics.read().distribution("latency")
    assert found.cumulative() == [(1, 2), (2, 3), (4, 4), (math.inf, 5)]
    assert (found.count, found.sum) == (5, 106)
    assert found.quantile(0.2) == 0.5
    assert found.quantile(0.6) == 2
    assert found.quantile(1.0) == 4, "the highest bound that is known"
    with latency.time():
        pass
    assert metrics.read()["latency"] == 6
    with pytest.raises(ValueError, match="NaN"):
        latency.observe(math.nan)
    for wrong in ((), (2, 1), (1, 1), (math.nan,)):
        with pytest.raises(ValueError, match=r"bounds|buckets"):
            metrics.histogram("other", buckets=wrong)


def test_threads_lose_no_count(metrics: LocalMetrics) -> None:
    counter, gauge = metrics.counter("orders"), metrics.gauge("level")
    latency, labelled = metrics.histogram("latency"), metrics.counter("seen", labels=["what"])
    number, threads = 20_000, 4
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        for turn in range(number):
            counter.inc()
            gauge.inc(2)
            latency.observe(0.2)
            labelled.inc(what=turn % 7)

    try:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    snapshot = metrics.read()
    expected = number * threads
    assert snapshot["orders_total"] == snapshot["latency"] == snapshot["seen_total"] == expected
    assert snapshot["level"] == 2 * expected
    assert len(snapshot.families["seen_total"].series) == 7


def test_threads_that_read_see_each_series_once(metrics: LocalMetrics) -> None:
    counter = metrics.counter("orders", labels=["number"])
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    highest = [0.0] * 4
    ends = threading.Event()

    def look(index: int) -> None:
        while not ends.is_set():
            families = metrics.read().families
            if "orders_total" in families:
                highest[index] = max(highest[index], metrics.read()["orders_total"])

    try:
        readers = [threading.Thread(target=look, args=(index,)) for index in range(len(highest))]
        for reader in readers:
            reader.start()
        for number in range(3000):
            counter.inc(number=number)
    finally:
        ends.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(before)
    assert metrics.read()["orders_total"] == 3000
    assert max(highest) <= 3000


def test_text_is_what_prometheus_reads_and_json_is_the_same(metrics: LocalMetrics) -> None:
    metrics.counter("orders", 'With "quotes"\nand lines', ["kind"]).inc(kind='a"\\\nb')
    metrics.histogram("latency", buckets=(1, 2)).observe(1.5)
    metrics.gauge("level").set(-math.inf)
    families = {f.name: f for f in text_string_to_metric_families(metrics.text())}
    (order,) = families["orders"].samples
    assert (order.name, order.labels, order.value) == ("orders_total", {"kind": 'a"\\\nb'}, 1)
    buckets = {s.labels.get("le", s.name): s.value for s in families["latency"].samples}
    assert buckets == {"1.0": 0, "2.0": 1, "+Inf": 1, "latency_count": 1, "latency_sum": 1.5}
    assert families["level"].samples[0].value == -math.inf
    assert Snapshot.from_json(metrics.to_json()).families == metrics.read().families


def test_a_series_without_room_counts_for_nobody_and_is_said_once(
    metrics: LocalMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    seen = metrics.counter("seen", labels=["user"])
    for user in range(20_000):
        seen.inc(user=user)
    snapshot = metrics.read()
    dropped = snapshot["tercio_metrics_series_dropped"]
    assert dropped > 0
    assert snapshot["seen_total"] + dropped == 20_000
    assert [
        r for r in caplog.messages if "do labels have values without end" in r
    ] == caplog.messages
    assert len(caplog.messages) == 1


def test_label_values_without_end_fill_no_memory(metrics: LocalMetrics) -> None:
    seen = metrics.counter("seen", labels=["path"])

    def see(paths: range) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for path in paths:
            seen.inc(path=f"/{path}")
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        see(range(40_000))
        assert see(range(40_000, 60_000)) < 100_000
    finally:
        tracemalloc.stop()
    seen.inc(path="/0")
    assert metrics.read().value("seen_total", path="/0") == 2


def test_a_fork_does_not_count_into_its_parents_memory() -> None:
    shared = Shared.create(1)
    try:
        metrics = Metrics(shared, 0)
        orders = metrics.counter("orders", labels=["kind"])
        book = orders.labels("book")
        book.inc()
        child = os.fork()
        if child == 0:
            book.inc(10)
            orders.inc(10, kind="pen")
            metrics.counter("more").inc()
            snapshot = metrics.read()
            is_alone = snapshot["orders_total"] == 20 and snapshot["more_total"] == 1
            os._exit(0 if is_alone else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert metrics.read()["orders_total"] == 1
        assert "more_total" not in metrics.read()
    finally:
        del metrics, orders, book
        shared.close()
