"""Q21, wrong: each worker keeps a copy and hears of the others' hits by messages.

The textbook's pattern. The copies agree in the end, but an answer is given before the messages of
the others have come: two workers give the same number to two clients.

tercio run examples.problems.q21_copies:app -w 4
"""

from examples.problems.plain import application

from tercio import cluster

counter = 0


def count(topic: str, by: object) -> None:
    global counter
    counter += 1


cluster.bus.on("hits", count, own=False)


async def hit() -> int:
    global counter
    counter += 1
    cluster.bus.publish("hits", 1, own=False)
    return counter


app = application({"/hit": hit})
