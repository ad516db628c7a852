"""Tercio runs a Python web app on every core of a machine, and keeps it running.

``from tercio import cluster`` gives an application its place in the cluster.
"""

from typing import TYPE_CHECKING

from tercio.version import __version__

if TYPE_CHECKING:
    from tercio import cluster

__all__ = ["__version__", "cluster"]


def __getattr__(name: str) -> object:
    # Imported on first use: the primary and the command line need none of it.
    if name == "cluster":
        import importlib

        return importlib.import_module("tercio.cluster")
    raise AttributeError(f"module 'tercio' has no attribute {name!r}")
