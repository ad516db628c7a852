"""What is measured: the work, the application and the circumstances of each scenario."""

from dataclasses import dataclass

from benchmarks.http.app import HELLO, MEBIBYTE
from benchmarks.http.servers import COUNTING, LOGGING, THREADED, WSGI
from benchmarks.http.work import Work

BARE, SHOP = "benchmarks.http.app:app", "benchmarks.http.shop:app"


@dataclass(frozen=True)
class Scenario:
    title: str
    work: Work
    app: str = BARE
    workers: int = 1
    pinned: bool = True  # the server on the first processor, all else on the second
    tls: bool = False
    idle: int = 0  # connections that do nothing meanwhile
    nginx: bool = False
    stretch: float = 1.0  # how much longer it takes than the others
    logs: bool = False  # each server twice, the second time with its access log
    counts: bool = False  # no server but ours by itself, twice, the second time with its counts

    @property
    def compares_variants(self) -> bool:
        """Whether each server stands beside itself, and not beside uvicorn."""
        return self.logs or self.counts

    def variants(self, servers: list[str]) -> list[str]:
        if self.app == WSGI:
            return list(THREADED)
        if self.counts:
            return list(COUNTING)
        if not self.logs:
            return servers
        return [variant for name in servers for variant in (name, name + LOGGING)]


def _message(size: int, connections: int) -> Work:
    payload = bytes(range(64)) * (size // 64)
    return Work("/", payload, connections, "websocket", payload)


_HELLO = Work("/", HELLO, 64)
_KIBIBYTE = b"0123456789abcdef" * 64
_ITEM = b'{"id":NUMBER,"name":"item NUMBER","price":NUMBER0}'

SCENARIOS = {
    "plaintext": Scenario("plaintext, kept connections, one core", _HELLO),
    "workers": Scenario("plaintext, 2 workers, not pinned", _HELLO, workers=2, pinned=False),
    "json": Scenario("FastAPI, JSON", Work("/", b'{"message":"Hello, world!"}', 64), app=SHOP),
    "post": Scenario("1 KiB POST, echoed", Work("/echo", _KIBIBYTE, 64, "post", body=_KIBIBYTE)),
    "download": Scenario("1 MiB download", Work("/mebibyte", MEBIBYTE, 16)),
    "upload": Scenario(
        "16 KiB upload, chunked, in 4 pieces",
        Work("/size", b"16384", 64, "chunked", body=_KIBIBYTE * 16, pieces=4),
    ),
    "connect": Scenario("a connection a request", Work("/", HELLO, 32, close=True)),
    "idle": Scenario("64 busy beside 1,000 idle connections", _HELLO, idle=1000),
    "websocket": Scenario("WebSocket, 64 B echoed", _message(64, 32)),
    "websocket-16k": Scenario("WebSocket, 16 KiB echoed", _message(16384, 32)),
    "tls": Scenario("plaintext over TLS", _HELLO, tls=True),
    "wsgi": Scenario("WSGI, plaintext", _HELLO, app=WSGI),
    "wsgi-post": Scenario(
        "WSGI, 1 KiB POST", Work("/size", b"1024", 64, "post", body=_KIBIBYTE), app=WSGI
    ),
    "wsgi-upload": Scenario(
        "WSGI, 100 KiB POST", Work("/size", b"102400", 64, "post", body=_KIBIBYTE * 100), app=WSGI
    ),
    "log": Scenario("plaintext, access log off and on", _HELLO, logs=True),
    "metrics": Scenario("plaintext, counts off and on", _HELLO, counts=True, stretch=2.0),
    "nginx": Scenario("plaintext behind nginx, kept upstream connections", _HELLO, nginx=True),
    "database": Scenario(
        "FastAPI and SQLite, 500 requests a second",
        Work("/item/NUMBER", _ITEM, 64, rate=500.0),
        app=SHOP,
        stretch=5.0,  # few requests, and the question is the slowest
    ),
}
