"""Say what a worker process is started with: its command line, environment and boot record."""

import os
from collections.abc import Mapping

from tercio import __version__
from tercio.core.commands import Spawn, StartTemplate
from tercio.dataplane.scoreboard import LAYOUT
from tercio.primary.launching import Launching
from tercio.primary.setup import Setup
from tercio.settings import Settings

_OOM_SCORE_ABOVE_PRIMARY = 300
"""The kernel then ends a worker before the primary, which can start another."""


def launching_of(setup: Setup, settings: Settings, command: Spawn, directory: str) -> Launching:
    """What ``command`` starts in ``directory``, with the options of its revision."""
    listeners = [
        {
            "bind": str(listener.bind),
            "slots": [each.fileno() for each in listener.slots],
            "shared": None if listener.slots else listener.fileno(),
        }
        for listener in setup.listeners
    ]
    shared = setup.shared.to_record(command.seat)
    record: dict[str, object] = {
        "version": __version__,
        "layout": LAYOUT,
        "primary_pid": os.getpid(),
        "slot": command.worker.slot,
        "incarnation": command.worker.incarnation,
        "seat": command.seat,
        "generation": command.generation,
        "name": setup.name,
        "directory": setup.claim.path,
        "host": setup.host.hex(),
        "state": setup.state_record(),
        "app": settings.config.app,
        "options": setup.options_record(settings),
        "listeners": listeners,
        "lifeline": setup.lifeline_read,
        "shared": shared,
        "oom_score_adj": _oom_score(),
        "is_locked": setup.identity is not None and setup.identity.uid != 0,
        "rlimits": settings.config.resource_limits,
        "has_launcher": setup.launch.has_launcher,
        "is_development": setup.launch.is_development,
    }
    descriptors = [
        *(fd for listener in setup.listeners for fd in listener.filenos()),
        setup.lifeline_read,
        *shared.values(),
    ]
    return Launching(
        argv=[*setup.launch.python, "-m", "tercio.worker"],
        environ=_environment(settings),
        cwd=directory,
        record=record,
        descriptors=descriptors,
        identity=setup.identity,
        has_terminal=setup.launch.is_development,
    )


def template_of(
    setup: Setup, settings: Settings, command: StartTemplate, directory: str
) -> Launching:
    """What ``command`` starts in ``directory``. Nothing of a worker's comes to it."""
    record: dict[str, object] = {
        "version": __version__,
        "layout": LAYOUT,
        "primary_pid": os.getpid(),
        "generation": command.generation,
        "name": setup.name,
        "directory": setup.claim.path,
        "options": setup.options_record(settings),
        "lifeline": setup.lifeline_read,
        "oom_score_adj": _oom_score(),
        "is_locked": setup.identity is not None and setup.identity.uid != 0,
    }
    return Launching(
        argv=[*setup.launch.python, "-m", "tercio.worker", "--template"],
        environ=_environment(settings),
        cwd=directory,
        record=record,
        descriptors=[setup.lifeline_read],
        identity=setup.identity,
    )


def _environment(settings: Settings) -> Mapping[str, str]:
    hidden = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # the primary speaks for all
    environ = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**settings.environ_additions, **environ}


def _oom_score() -> int | None:
    try:
        with open("/proc/self/oom_score_adj") as file:
            return min(1000, int(file.read()) + _OOM_SCORE_ABOVE_PRIMARY)
    except (OSError, ValueError):
        return None  # not Linux
