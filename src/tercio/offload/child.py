"""The child's side: carry out one call after another.

What the application prints goes where the worker's output goes, although the child's own streams
are the pipe to the worker.
"""

import contextvars
import io
import os
import pickle
import sys
import traceback
from typing import TextIO

from tercio.errors import OffloadError
from tercio.offload.call import Answer, Call, set_context


def carry_out(packed: bytes) -> bytes:
    """Carry out one call; the answer is packed, too, and no exception comes out of here."""
    _move_pipes()
    answer = contextvars.Context().run(_answer, packed)
    try:
        packed_answer = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        if answer.error is not None:
            pickle.loads(packed_answer)  # many exceptions can be pickled, and not made again
        return packed_answer
    except Exception as error:  # the value's own code
        what = "exception" if answer.error is not None else "result"
        kind = type(answer.error if answer.error is not None else answer.value).__name__
        said = f": {answer.error}" if answer.error is not None else ""
        failure = TypeError(f"the {what} of type {kind} cannot be sent back ({error}){said}")
        text = answer.traceback or "".join(traceback.format_exception(error))
        return pickle.dumps(Answer(None, failure, text), pickle.HIGHEST_PROTOCOL)


def _answer(packed: bytes) -> Answer:
    try:
        call: Call = pickle.loads(packed)
        os.environ.update(call.environ)
        set_context(call.context)
        return Answer(call.function(*call.args, **call.kwargs))
    except Exception as error:
        return Answer(None, error, "".join(traceback.format_exception(error)))
    except BaseException as error:  # SystemExit and its like would end the caller's event loop
        ended = OffloadError(f"the call ended by {type(error).__name__}: {error}")
        return Answer(None, ended, "".join(traceback.format_exception(error)))


def _move_pipes() -> None:
    """Give the numbers 0, 1 and 2 back to the application; once, before its first call.

    They are the pipes to the worker: a program that the call starts would inherit them, read the
    next call and write into an answer.
    """
    if getattr(sys.stderr, "name", "") != os.devnull:
        return
    stdin, stdout = sys.__stdin__, sys.__stdout__
    assert stdin is not None
    assert stdout is not None
    # anyio reads and writes through these very objects, so they get other descriptors.
    _raw(stdin).__init__(os.dup(0), "rb", closefd=False)  # type: ignore[misc]
    _raw(stdout).__init__(os.dup(1), "wb", closefd=False)  # type: ignore[misc]
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    try:
        descriptor = os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_APPEND)
    except OSError:  # a socket, another system: nowhere then
        descriptor = os.open(os.devnull, os.O_WRONLY)
    # Standard error was a pipe that nobody reads, which would stop who fills it.
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stderr = open(  # noqa: SIM115 - for the life of the process
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.stdout = sys.stderr


def _raw(stream: TextIO) -> io.FileIO:
    """What reads and writes; with ``python -u`` there is no buffer before it for output."""
    raw = getattr(stream.buffer, "raw", stream.buffer)
    assert isinstance(raw, io.FileIO)
    return raw
