"""Calls that would hold an event loop, carried out in other processes."""
