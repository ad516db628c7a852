"""The types of ASGI, as far as a server has to know them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# Any: what is in a scope or a message is between the application and its framework.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
