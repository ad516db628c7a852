"""Access lines that are written when the answer is complete: how long it took, how much it was.

Around the application, so that each kind of server has them; nothing of it runs for uvicorn's
plain lines, which are written as answers begin.
"""

import asyncio
import os
from collections.abc import MutableMapping
from time import monotonic, time
from typing import Any, Final

from tercio.http.access import ACCOUNTING, AccessLog, untouched
from tercio.http.asgi import App, Message, Receive, Scope, Send
from tercio.logs import Account
from tercio.options.logs import LogOptions

_KEY: Final = "tercio.account"
"""In the scope of a request whose line is written here."""


class AccountLog(AccessLog):
    """Lines of what the server itself answers; the others are written by `accounted`."""

    def write(self, scope: Scope, status: int) -> None:
        if _KEY not in scope:
            self.tell(Account(scope, status))

    def tell(self, account: Account) -> None:
        """Write a line, or make a record where somebody has set up logging otherwise."""
        handler = untouched(self._own, ACCOUNTING)
        formatter = handler.formatter if handler is not None else None
        if (
            handler is None
            or not isinstance(formatter, ACCOUNTING)
            or untouched(self._uvicorn, ACCOUNTING) is not handler
        ):
            self._record(account.scope, account.status, account)
            return
        handler.writer.write(formatter.line(account), escaped=True)


def access_log(options: LogOptions, loop: asyncio.AbstractEventLoop) -> AccessLog | None:
    """The access log of a server, or None if nobody would get a line."""
    if not options.access_log:
        return None
    return (AccountLog if options.has_accounts else AccessLog).of(loop)


def accounted(app: App, options: LogOptions, loop: asyncio.AbstractEventLoop) -> App:
    """``app``, with a line for each request if lines are to say that much."""
    log = AccountLog.of(loop) if options.has_accounts else None
    if log is None:
        return app

    async def account(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _Answer(scope, send, log)
        scope[_KEY] = True
        try:
            await app(scope, receive, answer.send)
        except BaseException:
            answer.end(500)
            raise
        answer.end(0)

    return account


class _Answer:
    """Looks at what an application sends."""

    __slots__ = ("_account", "_begun", "_log", "_scope", "_send")

    def __init__(self, scope: MutableMapping[str, Any], send: Send, log: AccountLog) -> None:
        self._scope = scope
        self._send = send
        self._log = log
        self._begun = monotonic()
        self._account: Account | None = Account(scope, 0)

    async def send(self, message: Message) -> None:
        account = self._account
        await self._send(message)
        if account is None:
            return
        kind = message["type"]
        if kind == "http.response.start":
            account.status = message["status"]
            account.headers = list(message.get("headers", ()))
        elif kind == "http.response.body":
            account.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.end(0)
        elif kind == "http.response.pathsend":
            account.sent += _size(message["path"])
            self.end(0)

    def end(self, status: int) -> None:
        """It is complete, or nothing more will come; ``status`` if nothing came at all."""
        account, self._account = self._account, None
        if account is None:
            return
        account.status = account.status or status
        if not account.status:
            return  # the client left: nobody got an answer
        account.seconds = monotonic() - self._begun
        account.time = time()
        if self._scope["method"] == "HEAD":
            account.sent = 0
        self._log.tell(account)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
