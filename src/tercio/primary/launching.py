"""What a process is started with."""

from collections.abc import Mapping

from tercio.system.identity import Identity


class Launching:
    """One worker, or one template."""

    def __init__(
        self,
        argv: list[str],
        environ: Mapping[str, str],
        cwd: str,
        record: dict[str, object],
        descriptors: list[int],
        identity: Identity | None,
        has_terminal: bool = False,
    ) -> None:
        self.argv = argv
        self.environ = environ
        self.cwd = cwd
        self.record = record
        self.descriptors = descriptors
        self.identity = identity
        self.has_terminal = has_terminal  # it may read from it, as we may
