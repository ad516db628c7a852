"""Applications that do what applications should not. Each is the text of an ``app.py``."""

from typing import Final

FAULTY: Final = """
import asyncio, itertools, os, signal, sys, time

@at_import@

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        @at_startup@
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
    else:
        await serve(scope, receive, send)


async def serve(scope, receive, send):
    match scope["path"].split("/")[1:]:
        case ["exit", code]:
            os._exit(int(code))
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
        case ["raise", name]:
            raise getattr(sys.modules["builtins"], name)("asked for")
        case ["later", name]:
            asyncio.get_running_loop().call_soon(_raise, name)
        case ["task", name]:
            asyncio.create_task(_raise_soon(name))
            await asyncio.sleep(0.05)
        case ["sleep", seconds]:
            await asyncio.sleep(float(seconds))
        case ["until", name]:
            while not os.path.exists(name):
                await asyncio.sleep(0.01)
        case ["block", seconds]:
            time.sleep(float(seconds))
        case ["gil"]:
            sum(itertools.repeat(1))  # for ever, in C, and it keeps the interpreter's lock
        case ["fork"]:
            if os.fork() == 0:
                while True:
                    time.sleep(1000)
        case ["orphan"]:
            # A grandchild in a group of its own, whose parent is gone.
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setpgid(0, 0)
                    time.sleep(0.2)
                os._exit(0)
        case ["endless"]:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"more ", "more_body": True})
                await asyncio.sleep(0.05)
        case ["home"]:
            return await _reply(send, os.environ.get("HOME", "none"))
    await _reply(send, f"one {os.getpid()}")


async def _reply(send, text):
    body = text.encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _raise(name):
    raise getattr(sys.modules["builtins"], name)("asked for")


async def _raise_soon(name):
    _raise(name)
"""

COUNT_BOOTS: Final = 'open("boots", "a").write("x")'
"""At import: one letter a boot. The file's size counts them."""

BROKEN: Final = f'{COUNT_BOOTS}\nraise RuntimeError("no database")'
"""At import: what a bad release does."""


def faulty(at_import: str = "", at_startup: str = "pass") -> str:
    """The text of the application, with statements to run at import and at start-up."""
    indented = at_startup.strip().replace("\n", "\n        ")
    return FAULTY.replace("@at_import@", at_import.strip()).replace("@at_startup@", indented)
