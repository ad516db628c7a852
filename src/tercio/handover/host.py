"""What an `exchange.Exchange` needs of the worker that it is of."""

import socket
from typing import Protocol

from tercio.handover.offers import Offer
from tercio.http.luggage import Luggage


class Host(Protocol):
    """The server that has the connections. Called in the loop."""

    def has_room(self, coming: int) -> bool:
        """Whether one more connection may come beside ``coming`` that are not adopted yet.

        Any thread may ask.
        """

    def adopt(self, connection: socket.socket, luggage: Luggage) -> None:
        """Serve a connection from now on, whoever had it before."""

    def came_back(self, offer: Offer) -> None:
        """A connection that was given is ours again: nobody has read anything of it."""

    def settled(self) -> None:
        """Connections have arrived where they were sent to."""
