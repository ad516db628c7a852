"""A set of names that processes join and leave, such as the users who are online."""

from tercio.errors import ValueTooLarge
from tercio.state.engine import StateEngine
from tercio.state.keys import LIMIT
from tercio.state.verbs import Join, Leave, Members, Size


class Group:
    """With a ``ttl`` a member that does not `add` itself again in time is out."""

    def __init__(self, engine: StateEngine, key: bytes, ttl: float | None) -> None:
        self._engine = engine
        self._key = key
        self._ttl = ttl

    async def add(self, member: str) -> bool:
        """Put a member in, or renew it. True: it is new. Raises `ValueTooLarge`."""
        return await self._engine.run(Join(self._key, member_key(member), self._ttl))

    async def discard(self, member: str) -> bool:
        """Take a member out. True: it was in."""
        return await self._engine.run(Leave(self._key, member_key(member)))

    async def members(self) -> list[str]:
        """All members, in the order of their bytes."""
        return [each.decode() for each in await self._engine.run(Members(self._key))]

    async def size(self) -> int:
        """How many members there are."""
        return await self._engine.run(Size(self._key))


def member_key(member: str) -> bytes:
    """The member's bytes. Raises `ValueTooLarge`."""
    encoded = member.encode()
    if len(encoded) > LIMIT:
        raise ValueTooLarge(f"member {member[:40]!r}… is longer than {LIMIT} bytes")
    return encoded
