"""A channel layer for Django Channels between all workers.

CHANNEL_LAYERS = {"default": {"BACKEND": "tercio.integrations.channels.TercioChannelLayer"}}
"""

import logging
import secrets
from collections.abc import Mapping
from re import Pattern
from typing import Any, Final

from channels.exceptions import ChannelFull  # type: ignore[import-untyped]
from channels.layers import BaseChannelLayer  # type: ignore[import-untyped]

from tercio.errors import QueueFull
from tercio.integrations.space import Space
from tercio.state.queue import Queue

_log = logging.getLogger("tercio.channels")

_DAY: Final = 86400.0


class TercioChannelLayer(BaseChannelLayer):  # type: ignore[misc]  # it has no types
    """Queues and groups of `cluster.state`. Messages are msgpack: a tuple arrives as a list."""

    extensions = ["groups", "flush"]

    def __init__(
        self,
        expiry: float = 60.0,
        group_expiry: float = _DAY,
        capacity: int = 100,
        channel_capacity: "Mapping[str | Pattern[str], int] | None" = None,
        *,
        name: str = "",
    ) -> None:
        """``expiry``: seconds that a message waits to be received; ``group_expiry``: seconds after
        which a channel is out of a group. ``capacity``: messages that wait in one channel. Layers
        of another ``name`` share nothing; it has no colon, or this raises `ValueError`.
        """
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.group_expiry: Final = group_expiry
        self.client_prefix: Final = secrets.token_hex(16)
        """In the names of channels that this process receives."""
        self._space: Final = Space("channels", name)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Put a message into a channel. Raises `ChannelFull`."""
        self._check(message)
        self.require_valid_channel_name(channel)
        try:
            await self._queue(channel).put_nowait(message)
        except QueueFull as error:
            raise ChannelFull(channel) from error

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message. One that a cancelled call had taken is put back."""
        self.require_valid_channel_name(channel)
        if "!" in channel:
            owner = self.non_local_name(channel).removesuffix("!")
            assert owner.endswith(self.client_prefix), "Wrong client prefix"
        return await self._queue(channel).get()

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name that only this process receives from."""
        return f"{prefix}.{self.client_prefix}!{secrets.token_hex(16)}"

    async def flush(self) -> None:
        """Forget all messages and groups of this layer, in all processes."""
        await self._space.state.wipe()

    async def close(self) -> None:
        """There is nothing to close: the state is the worker's."""

    async def group_add(self, group: str, channel: str) -> None:
        """Put a channel into a group, or renew it there."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._space.state.group(group, ttl=self.group_expiry).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._space.state.group(group).discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send to all channels of a group but those that are full, of which the log tells."""
        self._check(message)
        self.require_valid_group_name(group)
        channels = await self._space.state.group(group).members()
        full = 0
        for channel in channels:
            try:
                await self._queue(channel).put_nowait(message)
            except QueueFull:
                full += 1
        if full:
            _log.info("%d of %d channels over capacity in group %s", full, len(channels), group)

    def _check(self, message: object) -> None:
        assert isinstance(message, dict), "message is not a dict"

    def _queue(self, channel: str) -> Queue[dict[str, Any]]:
        capacity = self.get_capacity(channel)
        return self._space.state.queue(channel, capacity=capacity, ttl=self.expiry, type=dict)
