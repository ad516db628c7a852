"""Why a worker cannot serve."""

from dataclasses import dataclass


@dataclass(eq=False)  # not frozen: raising sets attributes of an exception
class BootFailure(Exception):
    """A stage of the start went wrong, and the worker ends."""

    stage: str
    error: str
    traceback: str = ""
