"""Speak HTTP/1.1 and WebSocket for an ASGI application, inside a worker."""
