"""What a worker has from the template that it was forked from."""

from dataclasses import dataclass

from tercio.logs import LogStreams


@dataclass(frozen=True, slots=True)
class Loaded:
    """The application, imported once for all workers of a generation."""

    app: object
    """As `importer.load` returns it."""
    fingerprint: str
    """Of the files as they were at the import."""
    streams: LogStreams
