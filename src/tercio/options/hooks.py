"""The options of hooks. They are part of `config.Config`."""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

HOOKS = Group(
    "Hooks", "Functions that workers call in their lives: MODULE:FUNCTION, each repeatable."
)


def _hook(help: str) -> tuple[str, ...]:
    return HOOKS.option((), kinds.several(subjects.hook()), help)


@dataclass(frozen=True, kw_only=True)
class HookOptions:
    """What is called, and for how long it may take."""

    on_worker_start: tuple[str, ...] = _hook(
        "Call this after the import, before the lifespan's start-up; if it fails, so does the boot."
    )
    on_worker_ready: tuple[str, ...] = _hook("Call this when a worker is ready, before it serves.")
    on_worker_drain: tuple[str, ...] = _hook("Call this when a worker is told to leave.")
    on_worker_exit: tuple[str, ...] = _hook("Call this after the lifespan's shut-down, at last.")
    hook_timeout: float = HOOKS.option(
        5.0, kinds.duration(low=0.1), "How long each of them but the first may take."
    )
