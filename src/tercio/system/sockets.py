"""Open the sockets that the cluster listens on: each address for itself alone, or not at all."""

import errno
import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from tercio.errors import AddressInUse, ConfigError, CouldNotStart
from tercio.system import notify, owners, tcp
from tercio.system.binds import Bind, BindKind, parse_bind, tcp_bind, unix_bind
from tercio.system.tcp import Address, Slots
from tercio.system.unix_paths import Inode, listen_at_path, unlink_ours

__all__ = [
    "Bind",
    "BindKind",
    "Listener",
    "Slots",
    "open_listeners",
    "parse_bind",
    "tcp_bind",
    "unix_bind",
]

Socket = socket.socket  # `Listener` has a property of the module's name

PORT_TRIES = 16  # for port 0 on several addresses: a port may be free on one and taken on the next


@dataclass(frozen=True, slots=True)
class Listener:
    """What listens at one address: a non-blocking socket for all workers, or one for each slot.

    ``bind`` is the place it really has: with the port that was chosen for port 0, and with the
    address behind a name or an inherited descriptor. ``url`` is where a client finds it.
    """

    sockets: tuple[Socket, ...]
    """One for all, or one for each slot, in the order of the kernel's group."""
    bind: Bind
    url: str
    inode: Inode | None = None
    why_shared: str = ""
    """Why there is only one, if several were wanted."""
    is_adopted: bool = False
    """Whether another process opened it."""

    @property
    def socket(self) -> Socket:
        """The only one, or that of the first slot."""
        return self.sockets[0]

    @property
    def slots(self) -> tuple[Socket, ...]:
        """The listener of each slot; none where all share one."""
        return self.sockets if len(self.sockets) > 1 else ()

    def fileno(self) -> int:
        """The descriptor of `socket`."""
        return self.socket.fileno()

    def filenos(self) -> list[int]:
        """The descriptors that workers inherit."""
        return [each.fileno() for each in self.sockets]

    def close(self) -> None:
        """Stop listening; a socket file goes too, if it is still the one made here."""
        if self.inode is not None:
            unlink_ours(self.bind.path, self.inode)
        for each in self.sockets:
            each.close()


def open_listeners(
    binds: Iterable[Bind],
    *,
    backlog: int,
    uds_permissions: int,
    scheme: str = "http",
    environ: MutableMapping[str, str] | None = None,
    slots: Slots | None = None,
) -> list[Listener]:
    """Open every bind, or none: those already open are closed again when one cannot be had.

    ``environ`` is where systemd's variables are looked for, and removed from. ``slots`` says how
    many listeners an address is to have, if it is one of TCP that is opened here.
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
                    opened.append(Listener((sock,), bind, str(bind), inode, _ONE_QUEUE))
                case BindKind.FD:
                    opened.append(_adopted(bind.fd, str(bind), scheme, opened))
                case BindKind.SYSTEMD:
                    for passed in _from_systemd(environ):
                        name = f"systemd socket {passed.name or passed.fd}"
                        opened.append(_adopted(passed.fd, name, scheme, opened))
                case BindKind.NAME | BindKind.TCP4 | BindKind.TCP6:
                    v6_only = _has_v4_of_its_own(bind, wanted)
                    opened.extend(_listen_at(bind, backlog, scheme, v6_only, slots))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


_ONE_QUEUE = "a Unix socket has one queue"
_NOT_OURS = "another process opened it"


def _listen_at(
    bind: Bind, backlog: int, scheme: str, v6_only: bool, slots: Slots | None
) -> list[Listener]:
    addresses = _resolved(bind)
    for tries_left in reversed(range(PORT_TRIES)):
        try:
            return _listen_at_each(bind, addresses, backlog, scheme, v6_only, slots)
        except AddressInUse:
            if bind.port != 0 or not tries_left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _listen_at_each(
    bind: Bind,
    addresses: list[Address],
    backlog: int,
    scheme: str,
    v6_only: bool,
    slots: Slots | None,
) -> list[Listener]:
    """Listen on all addresses of one bind, at one port."""
    opened: list[Listener] = []
    absent: OSError | None = None
    port = bind.port
    try:
        for unnumbered in addresses:
            address = unnumbered._replace(port=port)
            try:
                found = tcp.listen(address, backlog=backlog, v6_only=v6_only, slots=slots)
            except OSError as error:
                # /etc/hosts often says that localhost is ::1 too where there is no IPv6 at all.
                if bind.kind is BindKind.NAME and error.errno in _NO_SUCH_ADDRESS:
                    absent = error
                    continue
                raise _refusal(address, error) from error
            port = found.sockets[0].getsockname()[1]
            place = address._replace(port=port).bind
            url = f"{scheme}://{place}"
            opened.append(Listener(found.sockets, place, url, why_shared=found.why_alone))
        if absent is not None and not opened:
            raise _refusal(addresses[0], absent) from absent
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _has_v4_of_its_own(bind: Bind, wanted: list[Bind]) -> bool:
    """Whether "::" must leave IPv4 alone because another bind asks for it at the same port."""
    return any(other.kind is BindKind.TCP4 and other.port == bind.port != 0 for other in wanted)


def _resolved(bind: Bind) -> list[Address]:
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
        found.append(Address(family, host, bind.port, scope))
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
    if any(fd in listener.filenos() for listener in opened):
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
    url = f"{scheme}://{place}" if place.is_tcp else str(place)
    return Listener((sock,), place, url, why_shared=_NOT_OURS, is_adopted=True)


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


def _refusal(address: Address, error: OSError) -> CouldNotStart:
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
