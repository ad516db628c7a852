"""Open the sockets that the cluster listens on: each address for itself alone, or not at all."""

import errno
import os
import random
import socket
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

from tercio.errors import AddressInUse, ConfigError, CouldNotStart
from tercio.system import notify, owners
from tercio.system.binds import Bind, BindKind, parse_bind, tcp_bind, unix_bind
from tercio.system.unix_paths import Inode, listen_at_path, unlink_ours

__all__ = ["Bind", "BindKind", "Listener", "open_listeners", "parse_bind", "tcp_bind", "unix_bind"]

PORT_TRIES = 16  # for port 0 on several addresses: a port may be free on one and taken on the next
LISTEN_TRIES = 40
LISTEN_PAUSE = 0.01  # seconds, at most, between two of them


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening, non-blocking socket.

    ``bind`` is the place it really has: with the port that was chosen for port 0, and with the
    address behind a name or an inherited descriptor. ``url`` is where a client finds it.
    """

    socket: socket.socket
    bind: Bind
    url: str
    inode: Inode | None = None

    def fileno(self) -> int:
        """Return the descriptor that workers inherit."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening; a socket file goes too, if it is still the one made here."""
        if self.inode is not None:
            unlink_ours(self.bind.path, self.inode)
        self.socket.close()


def open_listeners(
    binds: Iterable[Bind],
    *,
    backlog: int,
    uds_permissions: int,
    scheme: str = "http",
    environ: MutableMapping[str, str] | None = None,
) -> list[Listener]:
    """Open every bind, or none: those already open are closed again when one cannot be had.

    ``environ`` is where systemd's variables are looked for, and removed from.
    """
    wanted = list(binds)
    opened: list[Listener] = []
    try:
        for bind in wanted:
            match bind.kind:
                case BindKind.UNIX:
                    sock, inode = listen_at_path(
                        bind.path, backlog=backlog, permissions=uds_permissions
                    )
                    opened.append(Listener(sock, bind, str(bind), inode))
                case BindKind.FD:
                    opened.append(_adopted(bind.fd, str(bind), scheme, opened))
                case BindKind.SYSTEMD:
                    for passed in _from_systemd(environ):
                        name = f"systemd socket {passed.name or passed.fd}"
                        opened.append(_adopted(passed.fd, name, scheme, opened))
                case BindKind.NAME | BindKind.TCP4 | BindKind.TCP6:
                    v6_only = _has_v4_of_its_own(bind, wanted)
                    opened.extend(_listen_at(bind, backlog, scheme, v6_only))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


class _Address(NamedTuple):
    family: socket.AddressFamily
    host: str
    port: int
    scope: int

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        if self.family == socket.AF_INET6:
            return (self.host.partition("%")[0], self.port, 0, self.scope)
        return (self.host, self.port)

    @property
    def bind(self) -> Bind:
        return tcp_bind(self.host, self.port)


def _listen_at(bind: Bind, backlog: int, scheme: str, v6_only: bool) -> list[Listener]:
    addresses = _resolved(bind)
    for tries_left in reversed(range(PORT_TRIES)):
        try:
            return _listen_at_each(bind, addresses, backlog, scheme, v6_only)
        except AddressInUse:
            if bind.port != 0 or not tries_left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _listen_at_each(
    bind: Bind, addresses: list[_Address], backlog: int, scheme: str, v6_only: bool
) -> list[Listener]:
    """Listen on all addresses of one bind, at one port."""
    opened: list[Listener] = []
    absent: OSError | None = None
    port = bind.port
    try:
        for unnumbered in addresses:
            address = unnumbered._replace(port=port)
            try:
                sock = _exclusive(address, backlog, v6_only)
            except OSError as error:
                # /etc/hosts often says that localhost is ::1 too where there is no IPv6 at all.
                if bind.kind is BindKind.NAME and error.errno in _NO_SUCH_ADDRESS:
                    absent = error
                    continue
                raise _refusal(address, error) from error
            port = sock.getsockname()[1]
            place = address._replace(port=port).bind
            opened.append(Listener(sock, place, f"{scheme}://{place}"))
        if absent is not None and not opened:
            raise _refusal(addresses[0], absent) from absent
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _exclusive(address: _Address, backlog: int, v6_only: bool) -> socket.socket:
    """Bind and listen, alone.

    SO_REUSEPORT is not set, so bind() fails beside any listener, those that do set it included.
    SO_REUSEADDR (needed to start again while old connections linger in TIME_WAIT) lets several
    processes bind one port until one of them listens. Linux makes listen() fail then, but when two
    call it at the same instant for both. So a failed listen() means "again": the next bind() fails
    if somebody has won.
    """
    for tries_left in reversed(range(LISTEN_TRIES)):
        # Named IPPROTO_TCP: asyncio sets TCP_NODELAY only on sockets that say so.
        sock = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.family == socket.AF_INET6:
                both = address.host == "::" and not v6_only
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
            sock.bind(address.sockaddr)
            try:
                sock.listen(backlog)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not tries_left:
                    raise
                sock.close()
                time.sleep(random.uniform(0, LISTEN_PAUSE))
                continue
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock
    raise AssertionError("unreachable: the last try returns or raises")


def _has_v4_of_its_own(bind: Bind, wanted: list[Bind]) -> bool:
    """Whether "::" must leave IPv4 alone because another bind asks for it at the same port."""
    return any(other.kind is BindKind.TCP4 and other.port == bind.port != 0 for other in wanted)


def _resolved(bind: Bind) -> list[_Address]:
    try:
        answers = socket.getaddrinfo(
            # Bytes: a text would go through the idna codec, and `tcp_bind` lets only ASCII in.
            bind.host.encode(),
            bind.port,
            type=socket.SOCK_STREAM,
            proto=socket.IPPROTO_TCP,
        )
    except socket.gaierror as error:
        raise CouldNotStart(
            f"host {bind.host!r} cannot be resolved ({error}): choose an address with --host"
        ) from error
    found = []
    for family, _, _, _, sockaddr in answers:
        if family not in (socket.AF_INET, socket.AF_INET6):
            continue
        # A literal is kept as it was written: with its scope ("fe80::1%eth0").
        host = str(sockaddr[0]) if bind.kind is BindKind.NAME else bind.host
        scope = int(sockaddr[3]) if len(sockaddr) == 4 else 0
        found.append(_Address(family, host, bind.port, scope))
    return list(dict.fromkeys(found))


def _from_systemd(environ: MutableMapping[str, str] | None) -> list[notify.PassedFd]:
    passed = notify.listen_fds(environ)
    if not passed:
        raise ConfigError(
            "bind 'systemd' cannot be used: no sockets were passed to this process (LISTEN_PID and "
            "LISTEN_FDS); start it from a unit with a .socket beside it"
        )
    return passed


def _adopted(fd: int, name: str, scheme: str, opened: list[Listener]) -> Listener:
    """Take over a descriptor that another process opened, if it is a listening stream socket."""
    if any(listener.fileno() == fd for listener in opened):
        raise ConfigError(f"{name} cannot be used: descriptor {fd} is given twice")
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be used: descriptor {fd} is not an open socket ({error.strerror})"
        ) from error
    try:
        place = _place_of(sock)
    except OSError:
        place = None
    if place is None:
        sock.detach()  # not ours: it stays as it was
        raise ConfigError(
            f"{name} cannot be used: descriptor {fd} is not a listening TCP or Unix stream socket"
        )
    if place.is_tcp and sock.proto == 0:
        # macOS cannot tell the protocol of a descriptor, and asyncio wants to know (see above).
        sock = socket.socket(sock.family, sock.type, socket.IPPROTO_TCP, fileno=sock.detach())
    sock.setblocking(False)
    os.set_inheritable(fd, False)
    return Listener(sock, place, f"{scheme}://{place}" if place.is_tcp else str(place))


def _place_of(sock: socket.socket) -> Bind | None:
    if sock.type != socket.SOCK_STREAM:
        return None
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    match sock.family:
        case socket.AF_INET | socket.AF_INET6:
            host, port, *_ = sock.getsockname()
            return tcp_bind(host, port)
        case socket.AF_UNIX:
            name = sock.getsockname()
            # Abstract names come as bytes. They are shown as systemd writes them, and never bound.
            path = name if isinstance(name, str) else "@" + os.fsdecode(name[1:])
            return Bind(BindKind.UNIX, path=path)
        case _:
            return None


_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _refusal(address: _Address, error: OSError) -> CouldNotStart:
    place = address.bind
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE:
            owner = owners.owner_of_port(address.host, address.port)
            return AddressInUse(
                f"{place} is in use by {owner}: stop it or choose another port with --port"
            )
        case errno.EACCES | errno.EPERM if address.port < 1024:
            advice = (
                "ports below 1024 need privileges: choose another port with --port, have systemd "
                "open the socket, or give CAP_NET_BIND_SERVICE"
            )
        case errno.EADDRNOTAVAIL:
            advice = f"this machine has no address {address.host}: choose another with --host"
        case errno.EAFNOSUPPORT:
            advice = "this machine has no IPv6: choose an IPv4 address with --host"
        case _:
            advice = "choose another address with --bind"
    return CouldNotStart(f"{place} cannot be listened on ({reason}): {advice}")
