"""What an error of the server means to whoever asked."""

from typing import Final

from tercio.errors import StateError, StateFull, StateUnavailable, TercioError, WrongType

_ABSENT: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "BUSY",
    "TRYAGAIN",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "UNBLOCKED",
)
_CLUSTER: Final = ("MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN")
_NO_NUMBER: Final = ("not an integer", "would overflow", "out of range")


def translated(error: Exception) -> TercioError:
    """The error of ours for an error reply."""
    text = str(error)
    word = text.partition(" ")[0]
    if word == "OOM" or "OOM command not allowed" in text:
        return StateFull(f"the server has no memory left (maxmemory): {text}")
    if word == "WRONGTYPE":
        return WrongType("this key holds something of another kind")
    if any(saying in text for saying in _NO_NUMBER):
        return WrongType("this key holds no whole number, or the sum leaves 64 bits")
    if word in _ABSENT:
        return StateUnavailable(f"the server refuses: {text}; nothing was changed")
    if word in _CLUSTER:
        return StateUnavailable(f"Redis Cluster is not supported: {text}")
    return StateError(f"the server refuses: {text}")


def is_demoted(error: Exception) -> bool:
    """Whether the server is no master any more: another one has to be found."""
    return str(error).startswith(("READONLY", "MASTERDOWN"))
