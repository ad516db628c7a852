"""WSGI applications (PEP 3333) on any server of ASGI, in threads."""
