"""granian as the server of a worker: its Rust threads speak HTTP, our life around them.

Of granian's own `Server` nothing is used, and of its classes those below it: they are private and
change, so the versions that were tried are named in the extra. What it lets nobody see or do is in
docs/servers.md, and why this is built as it is in docs/decisions/008.
"""

import asyncio
import importlib
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tercio.config import Config
from tercio.errors import ConfigError
from tercio.http import accounts, tls
from tercio.http.asgi import App, Scope
from tercio.http.hooks import Hooks
from tercio.http.proxies import Proxies
from tercio.servers import granian_options as options
from tercio.servers import probe, tasks
from tercio.servers.drain import FAREWELL, LAST_WORDS
from tercio.servers.granian_exchange import Channel, Exchange, Talk, Terms
from tercio.servers.lifespan import Lifespan
from tercio.servers.port import Away, Cut

if TYPE_CHECKING:
    from tercio.servers.granian_valve import Valve

_PATHS: Final = 10
_REASONS: Final = {1001: "going away", 1012: "service restart"}
_BUSY: Final = b"Service Unavailable"


class GranianServer:
    """See `port.Server`. ``note`` takes a level and a line for the cluster's events."""

    def __init__(self, config: Config, note: Callable[[str, str], None]) -> None:
        with suppress(ImportError):  # `start` tells; here there is nobody to be told
            # Before the application, which may change what an import relies on.
            importlib.import_module("tercio.servers.granian_valve")
            importlib.import_module("granian._futures")
        self._config = config
        self._note = note
        self.certified: Callable[[int], None] = lambda expires: None
        self._root = config.root_path.rstrip("/")
        self._proxies = Proxies(config.forwarded_allow_ips) if config.proxy_headers else None
        self._valves: list[Valve] = []
        self._running: dict[asyncio.Task[None], Exchange | Talk] = {}
        self._lifespan: Lifespan | None = None
        self._emptying: asyncio.Task[Cut] | None = None
        self._changed = asyncio.Event()
        self._deadline = float("inf")
        self._goodbye = (1001, _REASONS[1001])

    async def start(self, app: App, listeners: Sequence[socket.socket], hooks: Hooks) -> None:
        config = self._config
        options.check(config)
        try:
            from granian import _futures

            from tercio.servers.granian_valve import Valve
        except ImportError as error:  # it is there, and has changed
            raise ConfigError(options.missing()) from error
        try:
            # granian panics where this says what is wrong.
            if tls.context(config) is not None and (expires := tls.expiry(config.ssl_certfile)):
                self.certified(expires)
        except (OSError, ValueError) as error:
            raise ConfigError(f"TLS cannot be set up (see --ssl-certfile): {error}") from error
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._lifespan = Lifespan(app, config.lifespan)
        await self._lifespan.start()
        # After the start-up, which may have configured logging.
        access = accounts.access_log(config, self._loop)
        self._served = accounts.accounted(app, config, self._loop)
        self._terms = Terms(hooks, options.headers(config), access)
        for line in options.notes(config):
            self._note("warning", line)
        settings = options.settings(config)
        new_scheduler: Any = _futures._new_cbscheduler
        for listener in listeners:
            valve = Valve(listener, config.backlog)
            self._valves.append(valve)
            scheduler = new_scheduler(self._loop, self._answerer(listener), impl_asyncio=True)
            await valve.start(scheduler, settings)

    async def serve(self) -> None:
        if self._emptying is None:
            for valve in self._valves:
                valve.open()

    async def park(self) -> None:
        for valve in self._valves:
            valve.shut()

    def steal(self, listeners: Sequence[socket.socket], count: int) -> int:
        """See `port.Server`; the thread takes all that wait, be they more than ``count``."""
        valves = {valve.listener.getsockname(): valve for valve in self._valves}
        found = ((valves.get(each.getsockname()), each) for each in listeners)
        return sum(valve.visit(each) for valve, each in found if valve is not None)

    async def probe(self, path: str) -> int:
        assert self._lifespan is not None
        name = self._valves[0].listener.getsockname() if self._valves else ""
        host = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "localhost"
        return await probe.get(
            self._app,
            path,
            root_path=self._root,
            host=f"[{name[0]}]:{name[1]}" if ":" in name[0] else host,
            scheme="https" if self._config.ssl_certfile else "http",
            state=self._lifespan.state,
        )

    async def drain(
        self,
        limit: float,
        quiet: float,
        close_code: int,
        close_at_once: bool,
        away: Away | None = None,  # its connections are Rust's, and end where they began
    ) -> Cut:
        await self.park()
        if not self._valves:
            return Cut()
        self._deadline = min(self._deadline, self._loop.time() + limit)
        self._goodbye = (close_code, _REASONS.get(close_code, ""))
        self._terms.is_draining = True
        if close_at_once:
            self._say_goodbye()
        self._changed.set()
        if self._emptying is None:
            task = self._loop.create_task(self._empty(quiet), name="tercio-drain")
            self._emptying = tasks.hide(task)
        # Shielded: two callers may wait, and neither may end it for the other.
        return await asyncio.shield(self._emptying)

    async def stop(self) -> None:
        if self._valves:
            await self.drain(0.0, 0.0, 1001, True)
            for valve in self._valves:
                valve.close()
        if self._lifespan is not None:
            await self._lifespan.stop()

    def owned_fds(self) -> list[int]:
        return [*[fd for valve in self._valves for fd in valve.fds()], *self._connections()]

    # A request

    def _answerer(self, listener: socket.socket) -> Callable[[Any], Any]:
        """What granian calls for each request of a listener; it becomes a task."""
        name = listener.getsockname()
        server = (name[0], name[1]) if isinstance(name, tuple) else (name, None)

        async def answer(watcher: Any) -> None:
            scope = self._complete(watcher.scope, server)
            await self._answer(scope, watcher.proto, watcher.done)

        return answer

    async def _answer(self, scope: Scope, channel: Channel, done: Callable[[], None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        kind = Talk if scope["type"] == "websocket" else Exchange
        exchange = self._running[task] = kind(self._terms, scope, channel)
        failure: BaseException | None = None
        try:
            limit = self._config.limit_concurrency
            app = _busy if limit is not None and len(self._running) > limit else self._served
            await app(scope, exchange.receive, exchange.send)
        except (Exception, asyncio.CancelledError) as error:
            failure = error
        finally:
            # Also for SystemExit, which goes on and ends the worker.
            try:
                await exchange.finish(failure)
            finally:
                done()
                del self._running[task]
            if self._terms.is_draining:
                self._changed.set()

    def _complete(self, scope: Scope, server: tuple[str, int | None]) -> Scope:
        """The scope as ASGI has it, and as our other servers give it."""
        assert self._lifespan is not None
        host, port = scope["client"]
        scope["client"] = (host, int(port)) if server[1] is not None else None
        scope["server"] = server
        if scope["http_version"] == "1":
            scope["http_version"] = "1.0"
        scope["state"] = self._lifespan.state.copy()
        scope["root_path"] = self._root
        if self._root:
            scope["path"] = self._root + scope["path"]
            scope["raw_path"] = self._root.encode() + scope["raw_path"]
        if not self._config.pathsend or scope["type"] == "websocket":
            kept = scope["extensions"]
            scope["extensions"] = {n: v for n, v in kept.items() if n != "http.response.pathsend"}
        if self._proxies is not None and self._proxies.trusts(host if server[1] else server[0]):
            self._proxies.apply(scope)
        return scope

    # A drain

    async def _empty(self, quiet: float) -> Cut:
        """Say that each answer is the last; then end what is idle; then cut what is left."""
        cut = Cut()
        begun = self._loop.time()
        if self._connections():
            await self._until(lambda: False, begun + quiet)
        await self._until(lambda: not self._websockets(), float("inf"))
        if self._websockets():  # at the limit
            cut = self._what_is_left()
            self._say_goodbye()
            end = self._loop.time() + FAREWELL
            await self._until(lambda: not self._websockets(), end, hard=True)
        stops = [stop for valve in self._valves if (stop := valve.end()) is not None]
        for stop in stops:
            stop.add_done_callback(lambda stop: self._changed.set())
        await self._until(
            lambda: not self._running and all(stop.done() for stop in stops), float("inf")
        )
        cut = cut or self._what_is_left()
        if left := list(self._running):
            self._terms.is_cutting = True
            for task in left:
                task.cancel("the drain is over")
            await asyncio.wait(left, timeout=LAST_WORDS)
        if pending := [stop for stop in stops if not stop.done()]:
            await asyncio.wait(pending, timeout=LAST_WORDS)
        return cut

    async def _until(
        self, condition: Callable[[], bool], end: float, *, hard: bool = False
    ) -> None:
        """Return when it holds, at ``end``, or at the drain's limit unless that is over."""
        while not condition():
            limit = end if hard else min(end, self._deadline)
            if self._loop.time() >= limit:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout_at(limit):
                    await self._changed.wait()
            except TimeoutError:
                pass  # the loop's condition knows

    def _websockets(self) -> list[Talk]:
        return [each for each in self._running.values() if isinstance(each, Talk)]

    def _say_goodbye(self) -> None:
        for talk in self._websockets():
            talk.leave(*self._goodbye)

    def _what_is_left(self) -> Cut:
        left = list(self._running.values())
        requests = [each.scope["path"] for each in left if not each.is_websocket]
        websockets = [each.scope["path"] for each in left if each.is_websocket]
        paths = tuple(sorted({*requests, *websockets})[:_PATHS])
        return Cut(len(requests), len(websockets), paths)

    def _connections(self) -> list[int]:
        """granian tells of none, so this looks at what is open: 10 us a socket."""
        names = {valve.listener.getsockname() for valve in self._valves}
        ports = {name[1] for name in names if isinstance(name, tuple)}
        found = []
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if not os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                    continue
                with socket.socket(fileno=os.dup(fd)) as sock:
                    name = sock.getsockname()
                    is_ours = name[1] in ports if isinstance(name, tuple) else name in names
                    if is_ours and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        found.append(fd)
            except OSError:
                continue  # closed meanwhile
        return found


async def _busy(scope: Scope, receive: Any, send: Any) -> None:
    """503: there are more requests than --limit-concurrency."""
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": f"{kind}.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.body", "body": _BUSY})
