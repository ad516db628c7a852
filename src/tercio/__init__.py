"""Tercio runs a Python web app on every core of a machine, and keeps it running."""

from tercio.version import __version__

__all__ = ["__version__"]
