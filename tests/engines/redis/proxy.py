"""A proxy before a server: it can delay what is sent, swallow it, cut it, or speak TLS."""

import asyncio
import ssl
from contextlib import suppress


class Proxy:
    """Listens on a free port and passes on to a Unix socket."""

    def __init__(self, path: str, *, delay: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.connections = 0
        self._path = path
        self._delay = delay
        self._tls = tls
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        """From now on nothing passes, and nobody is told: a half-open connection."""
        self._open.clear()

    def pass_again(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """Close all connections."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.CancelledError):
                other_reader, other = await asyncio.open_unix_connection(self._path)
                self._writers |= {writer, other}
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pass(reader, other, 0.0))
                        group.create_task(self._pass(other_reader, writer, self._delay))
                except* (OSError, RuntimeError):  # uvloop raises the latter on a closed one
                    pass
                finally:
                    self._writers -= {writer, other}
                    other.close()
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
    ) -> None:
        # Each chunk is late by itself: a delay that held up the next would be a slow line instead.
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def write() -> None:
            while True:
                when, chunk = await queue.get()
                await asyncio.sleep(max(0.0, when - loop.time()))
                await self._open.wait()
                if not chunk:
                    writer.close()
                    return
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            while True:
                chunk = await reader.read(1 << 16)
                queue.put_nowait((loop.time() + delay, chunk))
                if not chunk:
                    break
