"""What a process that is attached learns of the end of its cluster, and what it has of the next."""

import json
import subprocess
import sys

from tercio.options import ATTACH_VARIABLE
from tests.cluster.harness import QUICK, Cluster

LISTEN = """
import asyncio, json, sys
from tercio import cluster
from tercio.errors import NoCluster, SubscriptionLost

def say(*words):
    print(json.dumps(words), flush=True)

async def main():
    held = cluster.bus
    held.on("prices", lambda topic, message: None)
    try:
        async with held.subscribe("a") as messages:
            say("listening")
            async for message in messages:
                say("message", message)
        say("ended without a reason")
    except SubscriptionLost as error:
        say("lost", str(error))
    try:
        held.publish("a", 1)
        say("published")
    except NoCluster as error:
        say("held", str(error))
    line = await asyncio.to_thread(sys.stdin.readline)
    messages = cluster.bus.subscribe("a")
    cluster.bus.publish("a", "anew")
    say("message", await anext(messages))

asyncio.run(main())
"""


def test_a_process_that_only_listens_learns_of_the_end(cluster: Cluster) -> None:
    cluster.start(*QUICK, "-w", "1")
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN],
        env={**cluster.environ, ATTACH_VARIABLE: str(cluster.control.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline()) == ["listening"]
        assert cluster.stop() == 0
        assert json.loads(process.stdout.readline()) == [
            "lost",
            "the subscription to a was ended: the cluster has ended",
        ]
        what, why = json.loads(process.stdout.readline())
        assert what == "held"
        assert "look `cluster.bus` up anew" in why
        cluster.start_again(*QUICK, "-w", "1")
        said, errors = process.communicate("go on\n", timeout=60)
    finally:
        process.kill()
        process.wait()
    assert json.loads(said) == ["message", "anew"]
    assert "the cluster has ended: callbacks for prices are called no more" in errors
