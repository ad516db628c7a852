"""The options of the application: what is served, and how it is imported.

They are part of `config.Config`.
"""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

APP = Group("Application", "What is served, and how it is imported.")


@dataclass(frozen=True, kw_only=True)
class AppOptions:
    """What is served."""

    app: str = APP.option(
        "", subjects.target(), "The application: MODULE:ATTRIBUTE.", positional=True, common=True
    )
    interface: str = APP.option(
        "auto",
        kinds.choice("auto", "asgi", "wsgi", "callable"),
        "What the application speaks; a 'callable' is called with its worker, and speaks for "
        "itself.",
    )
    factory: bool = APP.option(
        False, kinds.switch(), "Call the attribute to get the application.", common=True
    )
    app_dir: str = APP.option(
        "",
        kinds.text("DIR", "a directory"),
        "Import the application from here instead of the working directory.",
        common=True,
    )
    env_file: tuple[str, ...] = APP.option(
        (),
        kinds.several(kinds.text("FILE", "a file")),
        "Set variables from this file, where they are not set yet. Repeatable.",
        aliases=("--env-files",),
        common=True,
    )
    lifespan: str = APP.option(
        "auto", kinds.choice("auto", "on", "off"), "Run the ASGI lifespan; 'on' insists on it."
    )
    server: str = APP.option(
        "tercio",
        kinds.choice("tercio", "uvicorn", "granian"),
        "What speaks HTTP inside a worker; uvicorn and granian are extras.",
    )
    loop: str = APP.option(
        "auto",
        kinds.choice("auto", "uvloop", "asyncio"),
        "The event loop; 'auto' is uvloop where it is installed.",
        aliases=("--asgi-loop",),
    )
    threads: int = APP.option(
        10,
        kinds.whole(1, 1000),
        "Threads that run a WSGI application, per worker.",
        aliases=("--blocking-threads",),
    )
    timeout_request: float = APP.option(
        0.0,
        kinds.duration(zero="for ever"),
        "How long a WSGI application may do nothing about a request: its client gets 504 then.",
    )
