"""Find the processes that carry out a worker's offloaded calls: what they take is the worker's."""

from typing import Final

from tercio.system import proc

_MARK: Final = b"anyio.to_process"


def offloaded(worker: int) -> list[int]:
    """The processes of the worker with that pid; other programs that it started are its own."""
    return [pid for pid in proc.children(worker) if _MARK in (proc.read(pid, "cmdline") or b"")]
