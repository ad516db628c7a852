"""Messages between the workers of a real cluster."""

import json
import os
import signal
from typing import Any

from tests.cluster.harness import QUICK, Cluster

APP = """
import json, os
from tercio import cluster

heard = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        cluster.bus.on("chat.*", lambda topic, message: heard.append(message))
        cluster.bus.reply("who", lambda topic, message: os.getpid())
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                cluster.bus.publish("chat.end", [os.getpid(), "end"])
                return
    if scope["path"] == "/who":
        answer = await cluster.bus.request("who", None, 30)
    else:
        if scope["path"] != "/heard":
            cluster.bus.publish("chat.said", [os.getpid(), scope["path"]])
        answer = heard
    body = json.dumps({"pid": os.getpid(), "answer": answer}).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


def ask(cluster: Cluster, path: str) -> Any:
    return json.loads(cluster.get(path).text)


def until_all_heard(cluster: Cluster, what: str, pids: set[int]) -> None:
    """Until each of these workers has heard somebody say it."""
    heard: set[int] = set()

    def is_heard(_: object) -> bool:
        answer = ask(cluster, "/heard")
        if any(said == what for _, said in answer["answer"]):
            heard.add(answer["pid"])
        return heard >= pids

    cluster.until(is_heard)


def test_what_one_worker_says_all_hear_also_one_that_came_later(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "3", *QUICK)
    before = cluster.pids()
    ask(cluster, "/one")
    until_all_heard(cluster, "/one", set(before.values()))
    assert ask(cluster, "/who")["answer"] in before.values()
    os.kill(before[1], signal.SIGKILL)
    cluster.wait("WorkerDied")
    cluster.until(lambda status: status["ready"] == 3)
    after = set(cluster.pids().values())
    assert before[1] not in after
    ask(cluster, "/two")
    until_all_heard(cluster, "/two", after)


def test_what_a_worker_says_at_its_end_is_heard(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", *QUICK)
    assert cluster.tercio("recycle", "0").returncode == 0
    until_all_heard(cluster, "end", {cluster.pids()[1]})
