"""Every error that Tercio raises on purpose, and the codes a process exits with.

Callers catch these, never ``OSError``: the border (`system/`, `settings`) translates.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of a Tercio process means.

    The first five are the primary's and the command line's; the last one is a worker's.
    130 and 143 are 128 + SIGINT and 128 + SIGTERM, as a shell reports them.
    """

    STOPPED = 0
    COULD_NOT_START = 1
    CONFIGURATION = 2
    WORKER_BOOT_FAILED = 70
    FORCED_INT = 130
    FORCED_TERM = 143


class TercioError(Exception):
    """The root: everything below is an error with a message fit for a person."""


class ConfigError(TercioError):
    """An option has a name or a value that cannot be used; the process exits with 2."""


class CouldNotStart(TercioError):
    """The cluster cannot begin to serve, for a reason outside of its configuration."""


class AddressInUse(CouldNotStart):
    """Another process listens where this cluster was told to listen."""


class AppNotFound(TercioError):
    """The application named on the command line cannot be imported or is not there."""


class CannotFork(TercioError):
    """What an import has left behind does not outlive a fork, which `--preload` is made of."""


class AppStartFailed(TercioError):
    """The application's lifespan start-up raised or reported a failure."""


class VersionMismatch(TercioError):
    """A worker of another Tercio version than its primary: the package was upgraded meanwhile."""


class ControlError(TercioError):
    """A control request was refused or could not be carried out."""


class NoCluster(ControlError):
    """No running cluster answers at the control socket that was asked for, or it has ended."""


class ProtocolError(TercioError):
    """The other end of a socket sent something that is not our protocol."""


class ChannelClosed(TercioError):
    """The process at the other end of a channel is gone."""


class SpawnFailed(TercioError):
    """The kernel refused to start a process; tried again with back-off."""


class RuntimeDirRefused(CouldNotStart):
    """The runtime directory is missing, not ours, or open to other users."""


class ForkedFromWorker(TercioError):
    """``tercio.cluster`` was used in a process that application code forked inside a worker."""


class NotInCluster(TercioError):
    """``TERCIO_REQUIRE=1`` is set, and this process belongs to no cluster."""


class Unencodable(TercioError, TypeError):
    """A value cannot be sent or stored: it is nothing that msgpack knows."""


class ValueTooLarge(TercioError, ValueError):
    """A key, value or message is larger than its limit."""


class MessageTooLarge(ValueTooLarge):
    """A message is larger than what one publisher may send."""


class MessageRefused(TercioError):
    """A worker has sent the program that launched it more than it may in a second."""


class WrongType(TercioError, TypeError):
    """What is stored, or came, is not of the type that was asked for."""


class SubscriptionLost(TercioError):
    """A subscription with the policy "disconnect" fell behind, or the cluster has ended."""


class NoReply(TercioError, TimeoutError):
    """Nobody answered a request on the bus in time."""


class InvalidToken(TercioError):
    """A signed token is not good. It never says why to who sent it: the log does, at debug."""


class SessionNotLoaded(TercioError):
    """A session that is on a server was looked at before it was read."""


class StateError(TercioError):
    """The shared state could not do what was asked."""


class NoSuchKey(StateError, KeyError):
    """There is no such key, or it has expired."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would quote it


class StateBusy(StateError, TimeoutError):
    """Another process held the store for too long; nothing was changed."""


class StateFull(StateError):
    """The store has no room left; nothing was changed. Reads and deletes go on."""


class StateUnavailable(StateError):
    """The server that keeps the state does not answer; whether a write has happened is unknown."""


class LockLost(StateError):
    """A lock or a lease expired while it was held: another process may have it by now."""


class QueueFull(StateError):
    """A queue of the shared state holds as many items as it may."""


class OffloadError(TercioError):
    """A call in another process could not be carried out: no room, no time, or it died."""


class LockTaken(StateError, TimeoutError):
    """A lock was not free within the time that was given for it."""


class RequestFailed(TercioError):
    """Who answered a request on the bus could not carry it out."""
