"""Give connections to other workers of this host, and take theirs: `moves`, with real descriptors.

Any thread may give. What comes is read by the loop; while that is blocked, the watchdog's thread
reads it in its place and passes it on (`forward`). One lock stands around both. Everything has a
bound: connections on their way from one worker (`tickets.TICKETS`), messages a turn of the loop.
An idle worker has no timer here: there is one only while connections are on their way.
"""

import asyncio
import dataclasses
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

from tercio.dataplane.inboxes import Inboxes, close_all
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.dataplane.segment import anonymous_file
from tercio.dataplane.tickets import TICKETS, Tickets
from tercio.errors import ProtocolError
from tercio.handover import siblings
from tercio.handover.consignment import MOST_DATA, MOST_HOPS, WAKE, Cause, Consignment
from tercio.handover.host import Host
from tercio.handover.moves import Act, Outcome, Receiver, State, act, answered
from tercio.handover.offers import Offer, Offers
from tercio.handover.siblings import Sibling
from tercio.http.luggage import Luggage

_log = logging.getLogger("tercio.handover")

_BATCH: Final = 16
"""Messages a turn of the loop: whoever is served already waits no longer than that."""

_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks at words while connections are on their way.

Answers wake the sender; this is for what nobody tells: a receiver that died, a full inbox."""

_LOCK_WAIT: Final = 0.01
"""Seconds for which the watchdog's thread waits for a loop that is about to let go of the lock."""


class Exchange:
    """Of one worker, in ``seat``, as ``incarnation``. It takes nothing before `open`."""

    def __init__(
        self,
        seat: int,
        incarnation: int,
        scoreboard: Scoreboard,
        tickets: Tickets,
        inboxes: Inboxes,
    ) -> None:
        self._seat = seat
        self._incarnation = incarnation
        self._scoreboard = scoreboard
        self._row = scoreboard.row(seat)
        self._tickets = tickets
        self._inboxes = inboxes
        self._offers = Offers(seat, incarnation, TICKETS)
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_taking = False

    # Opening and closing, in the loop

    def open(self, loop: asyncio.AbstractEventLoop, host: Host) -> None:
        """Take connections from now on. Called in the loop; not called, nothing ever moves."""
        self._loop = loop
        self._host = host
        self._thread = threading.get_ident()
        self._is_taking = True
        loop.add_reader(self._inboxes.fileno(self._seat), self._hear)
        self._tickets.set_door(self._seat, self._incarnation)

    def shut(self) -> None:
        """Take nothing more, as this worker leaves; what comes all the same is refused.

        It still gives, and hears of what it gave.
        """
        self._is_taking = False
        self._tickets.set_door(self._seat, 0)

    def close(self) -> None:
        """The worker ends: refuse what is in the inbox, and drop the copies that are left.

        A connection that nobody has answered for yet stays where it was sent to.
        """
        if self._loop is None:
            return
        self.shut()
        while self._hear() == _BATCH:
            pass
        self._loop.remove_reader(self._inboxes.fileno(self._seat))
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for offer in tuple(self._offers):
                self._offers.end(offer)
                offer.connection.close()
            self._host = None

    @property
    def is_open(self) -> bool:
        """Whether connections can move at all: our own server, without TLS, and not at its end."""
        return self._host is not None

    def fds(self) -> list[int]:
        """The copies that are kept until an answer comes: nothing for a fork by an application."""
        return [offer.connection.fileno() for offer in tuple(self._offers)]

    # Giving, in any thread

    @property
    def outstanding(self) -> int:
        """Connections that are on their way: given, and not answered."""
        return len(self._offers)

    def on_their_way(self, to: int) -> int:
        """Connections that were given to the worker in a seat, and not answered."""
        return self._offers.sent.get(to, 0)

    @property
    def room(self) -> int:
        """How many connections may be given now."""
        return self._offers.room if self.is_open else 0

    def best(self, but: Collection[int] = ()) -> Sibling | None:
        """The sibling to give to: serving, not stuck, and with the fewest connections.

        ``but`` are seats that are out of the question. None: there is nobody.
        """
        others = (seat for seat in range(self._tickets.seats) if seat not in but)
        return siblings.best(self.sibling(seat) for seat in others)

    def sibling(self, seat: int) -> Sibling | None:
        """The worker in another seat, if it takes connections; it need not serve yet."""
        if seat == self._seat or not 0 <= seat < self._tickets.seats:
            return None
        now, sent = time.monotonic_ns(), self._offers.sent.get(seat, 0)
        return siblings.at(seat, self._scoreboard, self._tickets, now, sent)

    def give(
        self, connection: socket.socket, luggage: Luggage, cause: Cause, to: int | None = None
    ) -> bool:
        """Give a connection to the worker in seat ``to``, or to the best one.

        It must be out of the loop, and must not be read here any more. True: ``connection`` is the
        exchange's, which closes its copy when the other one has it; should nobody take it, it comes
        back to `Host.came_back`. False: it was not sent, and is the caller's as before.
        """
        with self._lock:
            return self._give(connection, luggage, cause, to)

    def _give(
        self, connection: socket.socket, luggage: Luggage, cause: Cause, to: int | None
    ) -> bool:
        if not self.room or luggage.hops > MOST_HOPS or len(luggage.data) > MOST_DATA:
            return self._not_sent()
        sibling = self.best() if to is None else self.sibling(to)
        if sibling is None:
            return self._not_sent()
        offer = self._offers.make(connection, luggage, cause, sibling.seat, sibling.incarnation)
        sent = offer.consignment
        # The word first: the receiver may answer before this call returns.
        self._tickets.write(self._seat, sent.ticket, sent.word)
        if not self._send(sent, connection):
            self._offers.end(offer)
            self._tickets.write(self._seat, sent.ticket, 0)
            return self._not_sent()
        if self._timer is None:
            self._in_loop(self._wait)
        return True

    def _send(self, sent: Consignment, connection: socket.socket) -> bool:
        if not sent.needs_file:
            return self._inboxes.send(sent.to, sent.pack(), [connection.fileno()])
        try:
            file = anonymous_file("tercio-luggage")
        except OSError:
            return False
        try:
            with open(file, "wb", buffering=0, closefd=False) as writing:
                written = writing.write(sent.luggage.data)
            is_whole = written == len(sent.luggage.data)
            return is_whole and self._inboxes.send(
                sent.to, sent.pack(), [connection.fileno(), file]
            )
        except OSError:  # no memory for it
            return False
        finally:
            os.close(file)

    def _not_sent(self) -> bool:
        self._row[Field.UNMOVED] += 1
        return False

    def _wait(self) -> None:
        if self._timer is None and self._loop is not None and self._host is not None:
            self._timer = self._loop.call_later(_LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.look()
        if self._offers:
            self._wait()

    def look(self) -> None:
        """See what has become of what was given."""
        with self._lock:
            todo = self._settle()
        self._do(todo)

    def _settle(self) -> list[Callable[[], None]]:
        """Let go of what is taken. Returns what is to be done in the loop, without the lock."""
        todo: list[Callable[[], None]] = []
        host = self._host
        if host is None:
            return todo
        ended = self._offers.ended(
            partial(siblings.is_dead, scoreboard=self._scoreboard),
            partial(self._tickets.read, self._seat),
        )
        for offer, outcome in ended:
            self._tickets.write(self._seat, offer.consignment.ticket, 0)
            if outcome is Outcome.TAKEN:
                # Never shutdown(): that would reach the other copy.
                offer.connection.close()
                self._row[offer.cause.counter] += 1
            else:
                todo.append(self._take_back(host, offer, outcome))
        if ended:
            todo.append(host.settled)
        return todo

    def _take_back(self, host: Host, offer: Offer, outcome: Outcome) -> Callable[[], None]:
        counter = Field.TAKEN_BACK if outcome is Outcome.BEREFT else Field.UNMOVED
        self._row[counter] += 1
        return partial(host.came_back, offer)

    # Taking

    def _hear(self) -> int:
        """In the loop: messages are there. Returns how many it was."""
        todo: list[Callable[[], None]] = []
        count = 0
        with self._lock:
            senders: set[int] = set()
            while count < _BATCH:
                if (message := self._inboxes.receive(self._seat)) is None:
                    break
                count += 1
                taken = self._take(*message, senders, len(todo))
                if taken is not None and self._host is not None:
                    todo.append(partial(self._host.adopt, *taken))
            self._wake(senders)
            todo += self._settle()
        self._do(todo)
        return count

    def forward(self) -> int:
        """In the watchdog's thread, while the loop is blocked: pass on what is in the inbox.

        Each connection is taken and given on by the rules, so that a death on the way loses it only
        where it would anyhow. What nobody takes waits for the loop, as ours. Returns how many were
        passed on; nothing is touched while there is nobody to pass it to.
        """
        if not self._lock.acquire(timeout=_LOCK_WAIT):
            return 0
        try:
            todo = self._settle()
            count, kept = self._pass_on()
        finally:
            self._lock.release()
        self._do([*todo, *kept])
        return count

    def _pass_on(self) -> tuple[int, list[Callable[[], None]]]:
        count = 0
        kept: list[Callable[[], None]] = []
        senders: set[int] = set()
        while self._host is not None and self.room and self.best() is not None:
            if (message := self._inboxes.receive(self._seat)) is None:
                break
            if (taken := self._take(*message, senders, len(kept))) is None:
                continue
            connection, luggage = taken
            on = Luggage(luggage.idle, luggage.asked, luggage.hops + 1, luggage.data)
            if self._give(connection, on, Cause.RESCUE, None):
                self._row[Field.FORWARDED] += 1
                count += 1
            else:
                kept.append(partial(self._host.adopt, connection, luggage))
        self._wake(senders)
        return count, kept

    def _take(
        self, message: bytes, fds: list[int], senders: set[int], coming: int
    ) -> tuple[socket.socket, Luggage] | None:
        """Answer one message; the connection, if it is ours now."""
        if message == WAKE:
            return None
        try:
            sent = Consignment.parse(message)
            found = self._tickets.read(sent.seat, sent.ticket)
        except (ProtocolError, IndexError) as error:
            _log.error("%s", error)
            close_all(fds)
            return None
        luggage, connection = _unpacked(sent, fds), _connection(fds)
        host = self._host
        has_room = self._is_taking and host is not None and host.has_room(coming)
        decision = act(
            Receiver(self._incarnation, has_room),
            meant_for=sent.to_incarnation,
            offered=sent.word,
            found=found,
            has_descriptor=luggage is not None and connection is not None,
        )
        if decision in (Act.TAKE, Act.REFUSE):
            state = State.TAKEN if decision is Act.TAKE else State.REFUSED
            self._tickets.write(sent.seat, sent.ticket, answered(sent.word, state))
            senders.add(sent.seat)
        if decision in (Act.DROP, Act.REFUSE) or luggage is None or connection is None:
            if connection is not None:
                connection.detach()
            close_all(fds)
            return None
        self._row[Field.ADOPTED] += 1
        close_all(fds[1:])
        return connection, luggage

    def _wake(self, senders: set[int]) -> None:
        """Tell who waits that there are answers. One whose inbox is full finds them by itself."""
        for seat in senders:
            self._inboxes.send(seat, WAKE)

    # Threads

    def _do(self, todo: list[Callable[[], None]]) -> None:
        for each in todo:
            self._in_loop(each)

    def _in_loop(self, call: Callable[[], None]) -> None:
        if self._loop is None:
            return
        if threading.get_ident() != self._thread:
            with suppress(RuntimeError):  # the loop is closed: this process ends
                self._loop.call_soon_threadsafe(self._in_loop, call)
            return
        try:
            call()
        except Exception:  # one connection's failure is not to be that of those behind it
            _log.exception("a connection that moved cannot be served")


def _connection(fds: list[int]) -> socket.socket | None:
    """The connection among what came; None if it is none, or did not come."""
    try:
        return socket.socket(fileno=fds[0]) if fds else None
    except OSError:  # from a worker that is broken
        return None


def _unpacked(sent: Consignment, fds: list[int]) -> Luggage | None:
    """What came with a connection; None if something of it is missing."""
    if len(fds) != 1 + bool(sent.in_file):
        return None
    if not sent.in_file:
        return sent.luggage
    try:
        data = os.pread(fds[1], sent.in_file, 0)
    except OSError:
        return None
    return dataclasses.replace(sent.luggage, data=data) if len(data) == sent.in_file else None
