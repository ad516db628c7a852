"""Find out who holds an address that we wanted, for the message that says so.

Best effort and bounded in time: /proc shows other users' sockets but not their descriptors, and
without /proc nothing is found.
"""

import os
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import inf

from tercio.system import proc

SEARCH_TIME = 1.0  # seconds: a machine may have very many processes and descriptors

_LISTENING = 0x0A  # TCP_LISTEN in /proc/net/tcp
_ACCEPTING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix


@dataclass(frozen=True, slots=True)
class _Holder:
    """One socket that stands in our way: the better it fits, the lower its rank."""

    rank: int
    inode: int
    uid: int


def owner_of_port(host: str, port: int) -> str:
    """Say who keeps us from listening at this address: "pid 12 (python app.py)" or less."""
    holders = sorted(_holders(host, port), key=lambda holder: holder.rank)
    best = [holder for holder in holders if holder.rank == holders[0].rank]
    pid = _process_with({holder.inode for holder in best})
    if pid is not None:
        return describe_owner(pid)
    return _hidden(best[0].uid if best else None)


def owner_of_path(path: str) -> str:
    """Say who listens at a Unix path, from the kernel's table of Unix sockets."""
    pid = _process_with(set(_inodes_at(path)))
    if pid is not None:
        return describe_owner(pid)
    try:
        return _hidden(os.lstat(path).st_uid)
    except OSError:
        return _hidden(None)


def describe_owner(pid: int) -> str:
    """Return "pid 12 (command line)", harmless to print."""
    if pid == os.getpid():
        return "this very process (it is asked for twice)"
    return proc.describe(pid)


def _hidden(uid: int | None) -> str:
    if uid is not None and uid != os.geteuid():
        return f"a process of user id {uid}, which this user may not look into"
    return "a process that cannot be seen from here"


def _holders(host: str, port: int) -> Iterator[_Holder]:
    wanted = _plain(ip_address(host))
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        with suppress(OSError), open(f"/proc/self/net/{table}", encoding="utf-8") as lines:
            next(lines, None)  # the headline
            deadline = time.monotonic() + SEARCH_TIME / 2
            for line in lines:
                if time.monotonic() > deadline:
                    break
                fields = line.split()
                address, _, port_digits = fields[1].partition(":")
                if int(port_digits, 16) != port:
                    continue
                local = _plain(_decoded(family, address))
                if local != wanted and not local.is_unspecified and not wanted.is_unspecified:
                    continue
                rank = 2 * (int(fields[3], 16) != _LISTENING) + (local != wanted)
                yield _Holder(rank, inode=int(fields[9]), uid=int(fields[7]))


def _decoded(family: int, digits: str) -> IPv4Address | IPv6Address:
    # The kernel prints each 32-bit word as a number of this machine's byte order.
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    return ip_address(socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)))


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))  # a scope id is no difference
    return address


def _inodes_at(path: str) -> Iterator[int]:
    with (
        suppress(OSError),
        open("/proc/self/net/unix", encoding="utf-8", errors="replace") as lines,
    ):
        next(lines, None)
        for line in lines:
            fields = line.rstrip("\n").split(maxsplit=7)
            if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & _ACCEPTING:
                yield int(fields[6])


def _process_with(inodes: Collection[int]) -> int | None:
    """Return the process that holds one of these sockets; of several, the one that began first.

    Workers share the socket of the process that started them, and that one is to be stopped.
    """
    links = {f"socket:[{inode}]" for inode in inodes if inode}
    if not links:
        return None
    deadline = time.monotonic() + SEARCH_TIME
    found: list[tuple[float, int]] = []
    for pid in proc.pids():
        if _holds(pid, links):
            found.append((_start_time(pid), pid))
        if time.monotonic() > deadline:
            break
    return min(found)[1] if found else None


def _holds(pid: int, links: Collection[str]) -> bool:
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False  # not ours to look into, or gone
    for fd in descriptors:
        with suppress(OSError):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{fd}") in links:
                return True
    return False


def _start_time(pid: int) -> float:
    # The 22nd field, counted after the name: that may hold spaces and brackets of its own.
    fields = (proc.read(pid, "stat") or b"").rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 else inf
