"""Import an application in a fresh interpreter and report how it went: `tercio check` runs this.

``python -m tercio.cli.trial FD QUESTION``; the report is one JSON object, written to FD.
"""

import json
import os
import sys
import time
import types
from collections.abc import Mapping

from tercio.errors import AppNotFound

_LONGEST_TRACEBACK = 16 << 10  # characters, its end; with its escapes it still fits into a pipe


def report(asked: Mapping[str, object]) -> dict[str, object]:
    """Import what was asked for: ``app``, ``app_dir``, ``factory`` and ``interface``."""
    from tercio.servers import interface
    from tercio.worker import importer

    started = time.monotonic()
    try:
        app = importer.load(
            str(asked["app"]), str(asked["app_dir"]), factory=bool(asked["factory"])
        )
    except AppNotFound as error:
        return {"ok": False, "error": str(error)}
    # SystemExit too: an application that ends at its import is broken, not its checker.
    except BaseException as error:
        return {
            "ok": False,
            "error": _one_line(error),
            "traceback": importer.explain(error)[-_LONGEST_TRACEBACK:],
        }
    seconds = time.monotonic() - started
    speaks = str(asked["interface"])
    if speaks == "auto":
        speaks = interface.detect(app)
    told = f"{'a callable' if speaks == 'callable' else speaks.upper()[:4]}, {_described(app)}"
    return {"ok": True, "interface": speaks, "told": told, "seconds": seconds}


def _described(app: object) -> str:
    if isinstance(app, types.FunctionType):
        return f"the function {app.__qualname__} of {app.__module__}"
    return f"an instance of {type(app).__module__}.{type(app).__qualname__}"


def _one_line(error: BaseException) -> str:
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}"[:500] if said else type(error).__name__


def main(argv: list[str]) -> None:
    """Answer the question in ``argv`` and end at once."""
    fd, asked = int(argv[1]), json.loads(argv[2])
    # A program that the import starts and leaves behind must not hold the report's pipe.
    os.set_inheritable(fd, False)
    answer = json.dumps(report(asked)).encode()
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(fd, answer)
    # Not sys.exit(): threads that the import started would keep the interpreter waiting.
    os._exit(0)


if __name__ == "__main__":  # multiprocessing's "spawn" imports this file again under another name
    main(sys.argv)
