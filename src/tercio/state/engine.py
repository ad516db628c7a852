"""What keeps state, as `State` sees it."""

from typing import Protocol, TypeVar

from tercio.state.verbs import Verb

R = TypeVar("R")


class StateEngine(Protocol):
    """Carries out verbs, each as one atomic step."""

    is_near: bool
    """Whether reading waits for nothing: `run_now` may be called in a loop for it."""

    async def run(self, verb: Verb[R]) -> R:
        """Carry out a verb without holding the loop for longer than a short step takes.

        A cancelled call has happened or not, never half, and its answer reaches nobody else.
        Raises `StateBusy`, `StateFull`, `StateUnavailable`, or what the verb raises.
        """

    def run_now(self, verb: Verb[R]) -> R:
        """The same from a thread without a running loop; it waits, at most a second or two."""

    def counters(self) -> dict[str, int]:
        """What was counted: operations, waits, slow operations, and what else is known."""

    async def close(self) -> None:
        """Give everything up. Calls under way end with an error."""

    def close_now(self) -> None:
        """The same without an event loop; it may take a moment."""

    def abandon(self) -> None:
        """In a fork: give up what came along, and leave what is the parent's untouched.

        Another engine can be opened in the same place afterwards.
        """
