"""Clients that send each request once, and count what did not get its answer."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

_PAUSE: Final = 0.002  # seconds between two requests of a client
_AFTER_A_FAILURE: Final = 0.02
_PATIENCE: Final = 30.0  # seconds for an answer


class Clients:
    """``kept`` clients keep their connection, ``fresh`` ones make one for each request.

    A connection that the server announced to close is no failure. An end without an answer, a
    refusal and an answer other than 200 are.
    """

    def __init__(self, port: int, path: str = "/hit", kept: int = 16, fresh: int = 4) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.bodies: set[str] = set()
        self._port = port
        self._path = path
        self._shares = (kept, fresh)
        self._ends = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends = True
        self._thread.join()

    def wait_for(self, answers: int) -> None:
        """Wait until so many more requests were answered."""
        enough = self.answers + answers
        with self._changed:
            if not self._changed.wait_for(lambda: self.answers >= enough, 2 * _PATIENCE):
                raise TimeoutError(f"{self.answers} answers, {len(self.failures)} failures")

    async def _run(self) -> None:
        kept, fresh = self._shares
        clients: list[Callable[[], Coroutine[Any, Any, None]]] = []
        clients += [lambda: self._live(keeps=True)] * kept
        clients += [lambda: self._live(keeps=False)] * fresh
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client())

    async def _live(self, *, keeps: bool) -> None:
        writer: asyncio.StreamWriter | None = None
        request = f"GET {self._path} HTTP/1.1\r\nHost: example\r\n\r\n".encode()
        while not self._ends:
            try:
                async with asyncio.timeout(_PATIENCE):
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.write(request)
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                    self.bodies.add((await reader.readexactly(length)).decode())
                    if b" 200 " not in head.partition(b"\r\n")[0]:
                        raise OSError(head.partition(b"\r\n")[0].decode())
                ends = not keeps or b"connection: close" in head
                with self._changed:
                    self.answers += 1
                    self._changed.notify_all()
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(repr(error))
                ends = True
                await asyncio.sleep(_AFTER_A_FAILURE)
            if ends and writer is not None:
                writer.close()
                writer = None
            await asyncio.sleep(_PAUSE)
        if writer is not None:
            writer.close()
