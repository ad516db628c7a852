"""Choose the cluster that a command is meant for: by name, or the only one that runs."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from tercio.cli.text import escape
from tercio.config import OPTIONS
from tercio.errors import ConfigError, NoCluster
from tercio.settings import load
from tercio.system import rundir


@dataclass(frozen=True, slots=True)
class Chosen:
    """The cluster to talk to."""

    name: str
    directory: str


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --name and --runtime-dir; the command is called with the `Chosen` cluster first."""

    @click.option("--name", "-n", metavar="NAME", help="Which cluster, if several run here.")
    @click.option(
        "--runtime-dir", metavar="DIR", help="Where the cluster was told to put its control socket."
    )
    @functools.wraps(command)
    def with_cluster(name: str | None, runtime_dir: str | None, **values: Any) -> None:
        command(choose(name, runtime_dir), **values)

    return with_cluster


def choose(name: object, runtime_dir: object, environ: Mapping[str, str] = os.environ) -> Chosen:
    """The running cluster of that name, or the only one; `NoCluster` tells what was found where.

    What the options of this directory (tercio.toml, TERCIO_NAME) say comes second: they name a
    cluster only where several run, but TERCIO_NAME is as good as the flag.
    """
    local_name, local_directory = _local_options(environ)
    wanted = str(name or environ.get("TERCIO_NAME") or "")
    option = str(runtime_dir or environ.get("TERCIO_RUNTIME_DIR") or "")
    places = rundir.places(option, environ)
    if local_directory and not option:
        places = [*rundir.places(local_directory, environ), *places]
    # Only where root was pointed to: in a shared place anybody can have planted something.
    is_named = bool(runtime_dir) and os.geteuid() == 0
    running = rundir.clusters(places, of_others=is_named)
    if wanted:
        matching = [cluster for cluster in running if cluster.name == wanted]
    elif len(running) > 1 and local_name:
        matching = [cluster for cluster in running if cluster.name == local_name]
    else:
        matching = running
    if len(matching) != 1:
        raise NoCluster(_explanation(wanted, matching or running, places, bool(matching)))
    return Chosen(matching[0].name, matching[0].path)


def _local_options(environ: Mapping[str, str]) -> tuple[str, str]:
    """Name and runtime directory of the options here, as far as they can be used."""
    try:
        config = load({}, environ, os.getcwd(), require_app=False).config
    except (ConfigError, OSError):
        # Looking at a cluster must not need a working configuration, nor a directory.
        return "", ""
    return config.name, config.runtime_dir


def _explanation(
    wanted: str, running: list[rundir.Cluster], places: list[str], is_ambiguous: bool
) -> str:
    looked = f"looked in {', '.join(map(escape, places))}"
    if not running:
        called = f" called {wanted!r}" if wanted else ""
        return f"no cluster{called} is running; {looked} (see {OPTIONS['runtime_dir'].flag})"
    lines = [f"  {_described(cluster)}" for cluster in running]
    if not is_ambiguous and wanted:
        head = f"no cluster called {wanted!r} is running; there are:"
    else:
        head = f"{len(running)} clusters are running; choose one with --name or --runtime-dir:"
    return "\n".join((head, *lines, looked))


def _described(cluster: rundir.Cluster) -> str:
    owner = f"pid {cluster.pid}" if cluster.pid is not None else "starting"
    app = cluster.info.get("app")
    serves = f", serves {escape(app)}" if app else ""
    return f"{escape(cluster.name)}  ({owner}{serves}, in {escape(cluster.path)})"
