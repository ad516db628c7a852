"""Q24, wrong: messages between processes go through their parent.

The textbook's pattern with `multiprocessing`: one child publishes, the parent takes each message
from a queue and puts it into the queue of each other child.

python -m examples.problems.q24_naive --messages 20000 --size 100
python -m examples.problems.q24_naive --messages 2000 --size 10000 --stop-one
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue

from examples.problems.load import own_mib

RECEIVERS = 3

Message = tuple[int, bytes]


def publish(to_parent: "Queue[Message | None]", messages: int, size: int, out: Connection) -> None:
    """Send numbered messages, and at the end the CPU time that this took."""
    began = time.process_time()
    for number in range(messages):
        to_parent.put((number, bytes(size)))
    to_parent.put(None)
    to_parent.close()
    to_parent.join_thread()
    out.send(time.process_time() - began)


def receive(inbox: "Queue[Message | None]", out: Connection) -> None:
    """Count what comes; send the number, whether it came in order, and the CPU time."""
    out.send("ready")
    began = time.process_time()
    heard, in_order = 0, True
    while (message := inbox.get()) is not None:
        in_order = in_order and message[0] == heard
        heard += 1
    out.send((heard, in_order, time.process_time() - began))


def run(messages: int, size: int, *, stop_one: bool) -> dict[str, float]:
    """Let messages through this process; what came of it. The last receiver may be stopped."""
    context = multiprocessing.get_context("spawn")
    to_parent: Queue[Message | None] = context.Queue()
    inboxes: list[Queue[Message | None]] = [context.Queue() for _ in range(RECEIVERS)]
    pipes = [context.Pipe(duplex=False) for _ in range(RECEIVERS + 1)]
    receivers = [
        context.Process(target=receive, args=(inbox, out), daemon=True)
        for inbox, (_, out) in zip(inboxes, pipes[1:], strict=True)
    ]
    for child in receivers:
        child.start()
    for back, _ in pipes[1:]:
        back.recv()  # it is ready
    stopped = receivers[-1].pid if stop_one else None
    if stopped is not None:
        os.kill(stopped, signal.SIGSTOP)
    before, cpu_before = own_mib(os.getpid()), time.process_time()
    args = (to_parent, messages, size, pipes[0][1])
    publisher = context.Process(target=publish, args=args, daemon=True)
    publisher.start()
    while True:
        message = to_parent.get()
        for inbox in inboxes:
            inbox.put(message)
        if message is None:
            break
    listening = pipes[1:-1] if stop_one else pipes[1:]
    cpu = pipes[0][0].recv()
    reports = [back.recv() for back, _ in listening]
    grown = own_mib(os.getpid()) - before
    parent_cpu = time.process_time() - cpu_before
    if stopped is not None:
        os.kill(stopped, signal.SIGCONT)
        pipes[-1][0].recv()
    for child in (publisher, *receivers):
        child.join()
    delivered = sum(heard for heard, _, _ in reports)
    cpu += parent_cpu + sum(seconds for _, _, seconds in reports)
    return {
        "delivered": delivered,
        "in_order": all(in_order for _, in_order, _ in reports),
        "cpu_us_per_delivery": round(cpu / delivered * 1e6, 2),
        "parent_cpu_share": round(parent_cpu / cpu, 3),
        "parent_cpu_seconds": round(parent_cpu, 3),
        "parent_grown_mib": round(grown, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--stop-one", action="store_true")
    options = parser.parse_args()
    figures = run(options.messages, options.size, stop_one=options.stop_one)
    sys.stdout.write(json.dumps(figures) + "\n")
