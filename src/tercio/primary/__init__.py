"""The parent process. It starts, parks, drains and replaces workers, and holds the listeners.

Standard library only and one thread: no HTTP, no Redis and no user code can bring it down. No
request byte and no message of the app passes it.
"""
