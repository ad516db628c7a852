"""A pytest plugin: python-socketio's own tests of its managers, run on ours."""

import socketio.async_pubsub_manager  # type: ignore[import-untyped]
import socketio.pubsub_manager  # type: ignore[import-untyped]

from tercio.integrations.socketio import AsyncTercioManager, TercioManager

socketio.async_pubsub_manager.AsyncPubSubManager = AsyncTercioManager
socketio.pubsub_manager.PubSubManager = TercioManager
