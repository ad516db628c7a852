"""Answer a scrape: the metrics of all processes, read from shared memory."""

import asyncio

from tercio.dataplane.shared import Shared
from tercio.metrics import Snapshot
from tercio.sidecar.answers import Answer, Refused


class Scrape:
    """The metrics of one cluster."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def snapshot(self) -> Snapshot:
        """Everything now. Raises `TimeoutError`."""
        return Snapshot.take(self._shared.series, self._shared.scoreboard)

    async def answer(self, accept: str) -> Answer:
        """In the format that the scraper asks for. Raises `Refused`."""
        try:
            body, content_type = await asyncio.to_thread(self._text, accept)
        except TimeoutError as error:
            raise Refused(503, "the metrics cannot be read now") from error
        return Answer(200, body, content_type)

    def _text(self, accept: str) -> tuple[bytes, str]:
        from prometheus_client import CollectorRegistry  # here: who is not scraped saves 50 ms
        from prometheus_client.exposition import choose_encoder

        from tercio.metrics.text import SnapshotCollector

        registry = CollectorRegistry(auto_describe=False)
        registry.register(SnapshotCollector(self.snapshot().families.values()))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type
