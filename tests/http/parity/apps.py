"""The application that both servers serve: each path is a function of this name.

What an application sees that its client can't, it tells with `tell`; ``/told`` answers all of it.
"""

import asyncio
import json
import os
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from tercio.http.asgi import Message, Receive, Scope, Send

TOLD: list[object] = []
"""What was told since somebody asked."""

GATES: dict[str, asyncio.Event] = {}
"""What applications wait for; ``/open?name`` lets them go on."""

MARK: ContextVar[str] = ContextVar("MARK")

_LATIN: Any = {"default": lambda value: value.decode("latin-1")}


async def app(scope: Scope, receive: Receive, send: Send) -> object:
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    name = scope["path"].removeprefix(scope["root_path"]).split("/")[1].replace("-", "_")
    return await globals()[name or "hello"](scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> object:
    await receive()
    scope["state"] |= {"plain": 1, "shared": []}
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
    return None


def tell(what: object) -> None:
    TOLD.append(what)


def gate(name: str) -> asyncio.Event:
    return GATES.setdefault(name, asyncio.Event())


def query(scope: Scope) -> str:
    return str(scope["query_string"].decode())


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answer(send: Send, data: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    length = (b"content-length", b"%d" % len(data))
    await send(start(length, *headers, status=status))
    await send(body(data))


def jsonable(value: Any) -> Any:
    """JSON with tuples as lists and bytes as Latin-1 text."""
    return json.loads(json.dumps(value, **_LATIN))


# What tests ask about the tests


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    telling = json.dumps(TOLD, **_LATIN).encode()
    TOLD.clear()
    await answer(send, telling)


async def open(scope: Scope, receive: Receive, send: Send) -> None:
    gate(query(scope)).set()
    await answer(send, b"")


async def print(scope: Scope, receive: Receive, send: Send) -> None:
    os.write(1, b"printed\n")
    await answer(send, b"")


# Requests


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def seen(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope, as JSON."""
    # What only one of the two knows is in the table of differences.
    await answer(send, json.dumps({**scope, "extensions": None}, **_LATIN).encode())


async def messages(scope: Scope, receive: Receive, send: Send) -> None:
    """All messages of the request."""
    got = b""
    count = 0
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        count += 1
        got += message["body"]
        more = message["more_body"]
    await answer(send, got, (b"x-more", str(count > 1).encode()))


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer to a request that nobody reads."""
    await answer(send, b"no, thanks", status=413)


async def after_the_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """What `receive` says when all is read and answered."""
    await receive()
    await answer(send, b"hello")
    tell((await receive())["type"])
    tell((await receive())["type"])


async def until_gone(scope: Scope, receive: Receive, send: Send) -> None:
    """Wait for the client to leave, then go on as if it had not."""
    await receive()
    tell("waiting")
    tell((await receive())["type"])
    await answer(send, b"to nobody")
    tell("sent")


async def gated_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Read nothing of the body until told to."""
    await gate(query(scope)).wait()
    await messages_length(scope, receive, send)


async def messages_length(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    await answer(send, str(size).encode())


async def given_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Stop waiting for a message that has not come, and ask again."""
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    waiting.cancel()
    tell("waiting")
    await messages(scope, receive, send)


async def context(scope: Scope, receive: Receive, send: Send) -> None:
    """What another request has left in the context."""
    found = MARK.get("nothing")
    MARK.set("something")
    await answer(send, found.encode())


async def state(scope: Scope, receive: Receive, send: Send) -> None:
    """What a request finds in the state, and what it leaves there."""
    found = jsonable(scope["state"])
    scope["state"]["plain"] += 1
    scope["state"]["mine"] = True
    scope["state"]["shared"].append(len(found["shared"]))
    await answer(send, json.dumps(found).encode())


# Answers


async def chunks(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start((b"content-type", b"text/plain")))
    for piece in (b"one", b"", b"three"):
        await send(body(piece, more=True))
    await send(body())


async def own_chunks(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start((b"transfer-encoding", b"chunked")))
    await send(body(b"one", more=True))
    await send(body(b"two"))


async def with_status(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer without a body, and without a word about its length."""
    await send(start(status=int(query(scope))))
    await send(body())


async def headers(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"", (b"X-Mixed", b"One"), (b"x-twice", b"a"), (b"x-twice", b"b"))


async def buffers(scope: Scope, receive: Receive, send: Send) -> None:
    """Messages in all the types that applications use."""
    await send(
        {
            "type": "http.response.start",
            "status": HTTPStatus.CREATED,
            "headers": ([name, b"yes"] for name in (b"x-list", b"x-generator")),
        }
    )
    await send(body(bytearray(b"one "), more=True))  # type: ignore[arg-type]
    await send(body(memoryview(b"two"), more=True))  # type: ignore[arg-type]
    await send({"type": "http.response.body"})


async def works_on(scope: Scope, receive: Receive, send: Send) -> None:
    """Go on after the answer."""
    await answer(send, b"hello")
    await gate(query(scope)).wait()
    tell("worked on")


async def closing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"bye", (b"Connection", b"close"))


async def longer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start((b"content-length", b"3")))
    await attempt(send, body(b"1234"))
    raise ValueError("as asked")


async def shorter(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start((b"content-length", b"5")))
    await attempt(send, body(b"1234"))
    raise ValueError("as asked")


async def attempt(send: Send, message: Message) -> None:
    """Send, and tell what that raises."""
    try:
        await send(message)
    except Exception as error:
        tell(type(error).__name__ if not isinstance(error, OSError) else "OSError")
    else:
        tell("nothing")


async def body_first(scope: Scope, receive: Receive, send: Send) -> None:
    await attempt(send, body(b"hello"))
    raise ValueError("as asked")


async def start_twice(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start((b"content-length", b"5")))
    await attempt(send, start())
    await send(body(b"hello"))


async def twice(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")
    await attempt(send, body(b"again"))


async def nonsense(scope: Scope, receive: Receive, send: Send) -> None:
    await attempt(send, {"type": "http.nonsense"})
    await answer(send, b"hello")


async def fails_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("as asked")


async def fails_after(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"half", more=True))
    raise ValueError("as asked")


async def returns_before(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def returns_amid(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"half", more=True))


async def returns_something(scope: Scope, receive: Receive, send: Send) -> object:
    await answer(send, b"hello")
    return "something"


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    """64 MiB, and how much of it was taken from us."""
    await send(start())
    tell("began")
    for _ in range(1024):
        await send(body(b"x" * 65536, more=True))
    tell("sent")
    await send(body())


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    tell("waiting")
    await gate(query(scope)).wait()
    await answer(send, b"slow")


async def injecting(scope: Scope, receive: Receive, send: Send) -> None:
    await attempt(send, start((b"x-evil", b"a\r\nset-cookie: b")))
    raise ValueError("as asked")


async def early_hints(scope: Scope, receive: Receive, send: Send) -> None:
    known = "http.response.early_hint" in scope.get("extensions", {})
    if known:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await answer(send, str(known).encode())


async def tls(scope: Scope, receive: Receive, send: Send) -> None:
    extensions = scope.get("extensions") or {}
    await answer(send, json.dumps(extensions.get("tls")).encode())


# WebSockets


async def accept(receive: Receive, send: Send, **more: object) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **more})


async def ws_echo(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def ws_given_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Stop waiting for a message that has not come, and ask again."""
    await accept(receive, send)
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    waiting.cancel()
    await send({"type": "websocket.send", "text": "gave up"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})


async def ws_end(scope: Scope, receive: Receive, send: Send) -> None:
    """How it ended."""
    await accept(receive, send)
    message = await receive()
    tell([message["code"], message.get("reason") or ""])


async def ws_seen(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    seen = {**scope, "extensions": sorted(scope["extensions"])}
    await send({"type": "websocket.send", "text": json.dumps(seen, **_LATIN)})
    await receive()


async def ws_choose(scope: Scope, receive: Receive, send: Send) -> None:
    """Take the last subprotocol, with a header of our own."""
    chosen = scope["subprotocols"][-1]
    await accept(receive, send, subprotocol=chosen, headers=[(b"x-own", b"yes")])
    await receive()


async def ws_close(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
    await attempt(send, {"type": "websocket.send", "text": "more"})
    message = await receive()
    tell([message["code"], message["reason"]])


async def ws_refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})
    tell((await receive())["type"])


async def ws_deny(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(
        {
            "type": "websocket.http.response.start",
            "status": 401,
            "headers": [(b"content-type", b"text/plain"), (b"x-why", b"because")],
        }
    )
    for data, more in ((b"not ", True), (b"you", False)):
        await send({"type": "websocket.http.response.body", "body": data, "more_body": more})
    tell((await receive())["type"])


async def ws_fails_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("as asked")


async def ws_fails_after(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    raise ValueError("as asked")


async def ws_returns_before(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def ws_returns_after(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)


async def ws_send_first(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await attempt(send, {"type": "websocket.send", "text": "too early"})
    await send({"type": "websocket.close"})


async def ws_until_gone(scope: Scope, receive: Receive, send: Send) -> None:
    """Send until somebody minds."""
    await accept(receive, send)
    await receive()
    while True:
        try:
            await send({"type": "websocket.send", "bytes": b"x" * 1000})
        except OSError:
            tell("OSError")
            raise
        await asyncio.sleep(0)


async def ws_gated(scope: Scope, receive: Receive, send: Send) -> None:
    """Read nothing until told to; then count."""
    await accept(receive, send)
    await gate(query(scope)).wait()
    size = 0
    while (message := await receive()).get("bytes") != b"":
        size += len(message["bytes"])
    await send({"type": "websocket.send", "text": str(size)})


async def ws_big(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    tell("began")
    for _ in range(1024):
        await send({"type": "websocket.send", "bytes": b"x" * 65536})
    tell("sent")
    await receive()
