"""What a real browser gets from our server; run by `scripts/browser`."""

import queue
import subprocess
import sys
import tempfile

from tercio.http.asgi import Receive, Scope, Send
from tests.http.harness import Served

_PAGE = b"""<!doctype html><title>waits</title><script>
const found = [];
const note = (name, value) => found.push(name + "=" + value);
async function main() {
    note("get", await (await fetch("/hello")).text());
    const body = new Uint8Array(300000).fill(120);
    note("post", await (await fetch("/size", {method: "POST", body})).text());
    note("stream", await (await fetch("/stream")).text());
    const all = await Promise.all([...Array(20).keys()].map(n => fetch("/hello?" + n)));
    note("many", all.filter(each => each.ok).length);
    await new Promise(resolve => {
        const socket = new WebSocket(location.href.replace("http", "ws") + "echo");
        socket.onopen = () => socket.send("x".repeat(50000));
        socket.onmessage = message => {
            note("websocket", message.data.length);
            socket.close(1000);
        };
        socket.onclose = event => { note("closed", event.code); resolve() };
    });
}
main().catch(error => note("error", error)).then(
    () => fetch("/report", {method: "POST", body: found.join(" ")}));
</script>"""

_PATIENCE = 60.0  # seconds for a browser to start and to report

_reports: "queue.Queue[str]" = queue.Queue()

_EXPECTED = "get=hello post=300000 stream=0123456789 many=20 websocket=50000 closed=1000"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    kind = b"text/html" if scope["path"] == "/" else b"text/plain"
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await send(start)
    match scope["path"]:
        case "/":
            await send({"type": "http.response.body", "body": _PAGE})
        case "/size":
            await send({"type": "http.response.body", "body": str(len(body)).encode()})
        case "/stream":
            for number in range(10):
                part = str(number).encode()
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body"})
        case "/report":
            _reports.put(body.decode())
            await send({"type": "http.response.body"})
        case _:
            await send({"type": "http.response.body", "body": b"hello"})


def main(browser: str) -> int:
    with Served(app, lifespan="off") as served, tempfile.TemporaryDirectory() as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
        command = [browser, *options, f"{served.url}/"]
        silent = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=silent, stderr=silent) as process:
            try:
                found = _reports.get(timeout=_PATIENCE)
            except queue.Empty:
                found = f"nothing in {_PATIENCE:g} s"
            process.terminate()
    print(f"found    {found}\nexpected {_EXPECTED}")
    return 0 if found == _EXPECTED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
