"""The options of logs. They are part of `config.Config`."""

from dataclasses import dataclass

from tercio.options import kinds, subjects
from tercio.options.option import Group

LOGS = Group("Logs", "Whole lines to standard output and error, or to files.")

_FIXED = "restart the cluster to change it"


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """What is logged, how, and where to."""

    log_level: str = LOGS.option(
        "info",
        kinds.choice("critical", "error", "warning", "info", "debug", "trace"),
        "The least important lines to write.",
        common=True,
    )
    log_format: str = LOGS.option(
        "text",
        kinds.choice("text", "json"),
        "Lines for people, or one JSON object a line.",
        instead=_FIXED,
    )
    access_log: bool = LOGS.option(True, kinds.switch(), "Write a line a request.", common=True)
    access_log_format: str = LOGS.option(
        "",
        subjects.access_format(),
        "The line of a request, in gunicorn's atoms such as %(h)s and %({referer}i)s; else it is "
        "uvicorn's.",
        aliases=("--access-logformat",),
    )
    access_log_file: str = LOGS.option(
        "",
        kinds.text("FILE", "a file, or '-' for standard output"),
        "Write access lines to this file; SIGUSR1 opens it again.",
        aliases=("--access-logfile",),
        instead=_FIXED,
    )
    error_log_file: str = LOGS.option(
        "",
        kinds.text("FILE", "a file, or '-' for standard error"),
        "Write all other lines to this file; SIGUSR1 opens it again.",
        aliases=("--error-logfile", "--log-file"),
        instead=_FIXED,
    )
    log_config: str = LOGS.option(
        "",
        kinds.text("FILE", "a file that ends with .json, .toml, .ini or .conf"),
        "Configure logging in workers with this file, before the application does it.",
        aliases=("--log-config-json",),
    )
    use_colors: bool | None = LOGS.option(
        None, kinds.switch_or_auto(), "Colour the log; 'auto' on a terminal only."
    )

    @property
    def has_accounts(self) -> bool:
        """Whether a line of a request says more than was known when its answer began."""
        return self.access_log and bool(self.log_format == "json" or self.access_log_format)
