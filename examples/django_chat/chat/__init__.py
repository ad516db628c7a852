"""A chat in Django: sessions, the cache and Channels over all workers, and no server beside them.

    pip install django channels
    cd examples/django_chat
    tercio run -w 4

``/login/ada`` begins a session; a WebSocket to ``/ws/lobby`` with its cookie says and hears.
"""
