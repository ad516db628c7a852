"""How far the calls go that take several steps: the same for tasks and for threads."""

from typing import Final

BITE: Final = 200
"""Keys that one step of `clear` removes: less than a millisecond of everybody's time."""

UPDATE_TRIES: Final = 1000
"""Rounds of `update`. Each that one loses another one wins, so hardly anybody needs ten."""
