"""Give connections to a worker that does not look, under a limit of descriptors on their way.

Run as a program, without the privileges that lift the limit. Says how many were given, and whether
each of the others is as it was.
"""

import asyncio
import resource

from tercio.handover.consignment import Cause
from tercio.http.luggage import Luggage
from tests.handover.exchanges import Place, pair

COUNT = 60
LIMIT = 10


async def main() -> None:
    with Place() as place:
        one, two = place.home(0).open(), place.home(1).open()
        asyncio.get_running_loop().remove_reader(place.inboxes.fileno(1))
        pairs = [pair() for _ in range(COUNT)]
        # What is open stays open; the kernel counts what is on its way against the same number.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, limit[1]))
        given = [one.exchange.give(each, Luggage(), Cause.DRAIN, to=1) for _, each in pairs]
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for (client, server), is_given in zip(pairs, given, strict=True):
            if not is_given:
                client.sendall(b"hello")
                assert server.recv(5) == b"hello"
        place.loop.add_reader(place.inboxes.fileno(1), two.exchange._hear)
        while one.exchange.outstanding:
            await asyncio.sleep(0.001)  # words in shared memory tell nobody
        assert len(two.adopted) == sum(given)
        # There is room again.
        left = next(each for (_, each), is_given in zip(pairs, given, strict=True) if not is_given)
        assert one.exchange.give(left, Luggage(), Cause.DRAIN, to=1)
        while one.exchange.outstanding:
            await asyncio.sleep(0.001)
        assert len(two.adopted) == sum(given) + 1
        for client, server in pairs:
            client.close()
            server.close()
        print(sum(given))


if __name__ == "__main__":
    asyncio.run(main())
