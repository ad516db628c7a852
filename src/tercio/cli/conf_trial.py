"""Execute a gunicorn.conf.py in this process and report what it set: `config import` runs this.

``python -m tercio.cli.conf_trial FD PATH NAMES``; the report is one JSON object, written to FD.
"""

import json
import os
import resource
import sys
import traceback

SECONDS = 10  # of CPU time
MEMORY = 2 << 30  # bytes of address space
OBJECT = "object of"
"""The key under which the class of something stands that is no value."""


def main(argv: list[str]) -> None:
    """Execute and answer."""
    fd, path, names = int(argv[1]), argv[2], set(json.loads(argv[3]))
    os.set_inheritable(fd, False)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it sets variables; it writes no file
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    # The names that gunicorn gives it.
    space: dict[str, object] = {"__name__": "__config__", "__file__": os.path.abspath(path)}
    try:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), space)
    except SystemExit as error:
        answer = {"exit": str(error.code)}
    except BaseException as error:
        answer = {"error": "".join(traceback.format_exception(error.with_traceback(None)))}
        frames = traceback.extract_tb(error.__traceback__)[1:]
        answer["error"] = "".join(
            ["Traceback (most recent call last):\n", *traceback.format_list(frames),
             *traceback.format_exception_only(error)]
        )  # fmt: skip
    else:
        found = {name: _plain(value) for name, value in space.items() if name.lower() in names}
        answer = {"found": found}  # type: ignore[dict-item]
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(fd, data) :]
    # Not sys.exit(): threads that it started would keep the interpreter waiting.
    os._exit(0)


def _plain(value: object) -> object:
    """The value as JSON can hold it; a function is named, and the class of what is no value."""
    if callable(value):
        return {"callable": getattr(value, "__qualname__", repr(value))}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return {OBJECT: type(value).__qualname__}


if __name__ == "__main__":
    main(sys.argv)
