"""A pytest plugin: channels_redis' tests of its layer, run on ours."""

import channels_redis.core  # type: ignore[import-not-found]

from tercio.integrations.channels import TercioChannelLayer


class Layer(TercioChannelLayer):
    """Takes what only Redis needs, and does nothing with it."""

    def __init__(self, hosts: object = None, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]

    async def close_pools(self) -> None:
        """There are none."""


channels_redis.core.RedisChannelLayer = Layer
