"""Sessions of browsers in the shared state: one for all workers.

``app.add_middleware(SessionMiddleware)`` gives `request.session` to Starlette and FastAPI.
"""

from tercio.sessions.cookie import SessionCookie
from tercio.sessions.middleware import SessionMiddleware
from tercio.sessions.record import Gone
from tercio.sessions.session import Session
from tercio.sessions.store import SessionStore

__all__ = ["Gone", "Session", "SessionCookie", "SessionMiddleware", "SessionStore"]
