"""One WebSocket of the chat."""

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from tercio import cluster


class Chat(AsyncJsonWebsocketConsumer):
    """In one room, under the name of its session."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.name = await self.scope["session"].aget("name") or "somebody"
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        await self.send_json({"joined": self.room, "worker": cluster.worker.id})

    async def receive_json(self, content: object) -> None:
        message = {"type": "said", "from": self.name, "text": content}
        await self.channel_layer.group_send(self.room, message)

    async def said(self, event: dict[str, object]) -> None:
        await self.send_json({"from": event["from"], "text": event["text"]})

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)
