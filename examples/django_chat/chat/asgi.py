"""What Tercio serves: pages by Django, WebSockets by Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chat.settings")
pages = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  # Django comes first
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.urls import path  # noqa: E402

from chat.consumers import Chat  # noqa: E402

rooms = URLRouter([path("ws/<room>", Chat.as_asgi())])
sockets = AllowedHostsOriginValidator(SessionMiddlewareStack(rooms))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
