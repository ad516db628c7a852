"""Turn signals into inputs. A handler puts one input into the inbox and decides nothing else.

TERM, INT  stop; the second one ends at once      HUP, USR2  reload
QUIT       dump all stacks, then stop             TTIN, TTOU one worker more, one less
USR1       reopen log files                       CHLD       reap
"""

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol

from tercio.core import events, inputs
from tercio.core.cluster import Cluster
from tercio.errors import ControlError, ExitCode
from tercio.primary.journal import Journal
from tercio.primary.terminal import has_terminal


class Runtime(Protocol):
    """What signals reach."""

    journal: Journal

    @property
    def cluster(self) -> Cluster: ...

    def tell(self, item: inputs.Input) -> None: ...

    def ask_reload(self) -> int: ...

    def reopen_logs(self) -> None: ...

    def reap(self) -> None: ...

    def show_stacks(self) -> None: ...


class Signals:
    """The primary's signal handlers."""

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop) -> None:
        self._runtime = runtime
        self._loop = loop
        self._had_terminal = has_terminal()
        # nohup: the terminal may go, the cluster stays.
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self._stop(ExitCode.FORCED_TERM),
            signal.SIGINT: lambda: self._stop(ExitCode.FORCED_INT),
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR2: self._reload,
            signal.SIGTTIN: lambda: self._scale(+1),
            signal.SIGTTOU: lambda: self._scale(-1),
            signal.SIGUSR1: runtime.reopen_logs,
            signal.SIGQUIT: self._quit,
            signal.SIGCHLD: runtime.reap,
        }

    def install(self) -> None:
        """Take the signals, and those that came while nobody did."""
        for number, handler in self._handlers.items():
            self._loop.add_signal_handler(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)

    def uninstall(self) -> None:
        """Leave the signals to the end of the process: nothing is left to stop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._handlers)
        for number in self._handlers:
            self._loop.remove_signal_handler(number)

    def _stop(self, code: int) -> None:
        self._runtime.tell(inputs.StopAsked(code))

    def _hang_up(self) -> None:
        if self._had_terminal and not has_terminal():
            self._had_terminal = False  # it hangs up once; a later signal is a person's
            if not self._ignores_hangup:
                self._stop(ExitCode.FORCED_TERM)
            return
        self._reload()

    def _reload(self) -> None:
        try:
            self._runtime.ask_reload()
        except ControlError as error:
            self._runtime.journal.publish(events.ReloadRefused(str(error)))

    def _scale(self, step: int) -> None:
        self._runtime.tell(inputs.ScaleAsked(self._runtime.cluster.target + step))

    def _quit(self) -> None:
        self._runtime.show_stacks()
        self._stop(ExitCode.FORCED_TERM)
