"""Tercio runs a Python web app on every core of a machine, and keeps it running.

``from tercio import cluster`` gives an application its place in the cluster; `tercio.launch` runs
a cluster from a program.
"""

from typing import TYPE_CHECKING

from tercio.version import __version__

if TYPE_CHECKING:
    from tercio import cluster
    from tercio.running.start import launch

__all__ = ["__version__", "cluster", "launch"]


def __getattr__(name: str) -> object:
    # Imported on first use: the primary and the command line need none of it.
    import importlib

    if name == "cluster":
        return importlib.import_module("tercio.cluster")
    if name == "launch":
        return importlib.import_module("tercio.running.start").launch
    raise AttributeError(f"module 'tercio' has no attribute {name!r}")
