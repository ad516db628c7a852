"""The child's side: carry out one call after another.

What the application prints goes where the worker's output goes, although the child's own streams
are the pipe to the worker.
"""

import contextvars
import os
import pickle
import sys
import traceback

from tercio.offload.call import Answer, Call, set_context


def carry_out(packed: bytes) -> bytes:
    """Carry out one call; the answer is packed, too, and no exception comes out of here."""
    _find_outputs()
    answer = contextvars.Context().run(_answer, packed)
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # the value's own code
        what = "exception" if answer.error is not None else "result"
        kind = type(answer.error if answer.error is not None else answer.value).__name__
        failure = TypeError(f"the {what} of type {kind} cannot be sent back: {error}")
        text = answer.traceback or "".join(traceback.format_exception(error))
        return pickle.dumps(Answer(None, failure, text), pickle.HIGHEST_PROTOCOL)


def _answer(packed: bytes) -> Answer:
    try:
        call: Call = pickle.loads(packed)
        os.environ.update(call.environ)
        set_context(call.context)
        return Answer(call.function(*call.args, **call.kwargs))
    except BaseException as error:  # also SystemExit: a call does not end what others use
        return Answer(None, error, "".join(traceback.format_exception(error)))


def _find_outputs() -> None:
    """Write to the worker's standard error; once."""
    if getattr(sys.stderr, "name", "") != os.devnull:
        return
    try:
        descriptor = os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_APPEND)
    except OSError:  # a socket, another system: nowhere then
        descriptor = os.open(os.devnull, os.O_WRONLY)
    # In place of a pipe that nobody reads, which would stop who fills it.
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stderr = open(  # noqa: SIM115 - for the life of the process
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.stdout = sys.stderr
