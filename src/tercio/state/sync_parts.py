"""Queues and groups for threads."""

from typing import Any, Generic, TypeVar, cast

from tercio.codec import decode, encode
from tercio.errors import QueueFull
from tercio.state.caller import Caller
from tercio.state.group import member_key
from tercio.state.keys import shown
from tercio.state.verbs import Join, Leave, Members, Pop, Push, Size

T = TypeVar("T")


class SyncQueue(Generic[T]):
    """As `Queue`."""

    def __init__(
        self, caller: Caller, key: bytes, capacity: int, ttl: float | None, type: type[T] | None
    ) -> None:
        self._caller = caller
        self._key = key
        self._capacity = capacity
        self._ttl = ttl
        self._type = type

    def put(self, item: T, timeout: float | None = None) -> None:
        """As `Queue.put`."""
        verb = Push(self._key, encode(item), self._capacity, self._ttl)
        if not self._caller.until(lambda: self._caller.run(verb) or None, timeout):
            raise QueueFull(f"{shown(self._key)} is full: it takes {self._capacity}")
        self._caller.notifier.notify(self._key)

    def put_nowait(self, item: T) -> None:
        """As `Queue.put_nowait`."""
        self.put(item, timeout=0.0)

    def get(self, timeout: float | None = None) -> T:
        """As `Queue.get`."""
        item = self._caller.until(lambda: self._caller.run(Pop(self._key)), timeout)
        if item is None:
            raise TimeoutError(f"no item came into {shown(self._key)} within {timeout} s")
        return cast("T", decode(item, cast("Any", self._type)))

    def size(self) -> int:
        """As `Queue.size`."""
        return self._caller.run(Size(self._key))


class SyncGroup:
    """As `Group`."""

    def __init__(self, caller: Caller, key: bytes, ttl: float | None) -> None:
        self._caller = caller
        self._key = key
        self._ttl = ttl

    def add(self, member: str) -> bool:
        """As `Group.add`."""
        return self._caller.run(Join(self._key, member_key(member), self._ttl))

    def discard(self, member: str) -> bool:
        """As `Group.discard`."""
        return self._caller.run(Leave(self._key, member_key(member)))

    def members(self) -> list[str]:
        """As `Group.members`."""
        return [each.decode() for each in self._caller.run(Members(self._key))]

    def size(self) -> int:
        """As `Group.size`."""
        return self._caller.run(Size(self._key))
