"""Find every option's value: flag, then environment, then file, then default.

Says where each value came from, and refuses what cannot be used with one message that names
key, value, place and what is allowed, for all mistakes at once. Reads files; changes nothing.
"""

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tercio.config import OPTIONS, Config
from tercio.errors import ConfigError
from tercio.options import ATTACH_VARIABLE, PREFIX, Option
from tercio.options.elsewhere import answer_to
from tercio.options.kinds import Refused
from tercio.settings import django
from tercio.settings.checks import cross_checks
from tercio.settings.files import (
    ConfigFile,
    is_secret,
    read_config_file,
    read_env_file,
    read_secret,
)

# Set for other parts of Tercio, or answered below; no options.
_OTHER_VARIABLES = frozenset({ATTACH_VARIABLE, "TERCIO_REQUIRE", "TERCIO_CONFIG"})
_ADDRESSES = (("host", "port"), ("bind",), ("uds",), ("fd",))


@dataclass(frozen=True, slots=True)
class Settings:
    """A valid configuration and how it came about."""

    config: Config
    origins: Mapping[str, str]
    """By field: ``--workers``, ``WEB_CONCURRENCY``, ``tercio.toml:3`` or ``default``."""
    environ_additions: Mapping[str, str]
    """What ``env_file`` adds to the environment of workers."""
    warnings: tuple[str, ...]
    files: tuple[str, ...]
    """Every file that was read, as it was named."""

    def to_json(self) -> dict[str, object]:
        """For `tercio config`: no secret, nor the values of ``environ_additions``."""
        return {
            "config": self.config.to_json(redacted=True),
            "origins": dict(self.origins),
            "environ_additions": sorted(self.environ_additions),
            "warnings": list(self.warnings),
            "files": list(self.files),
        }


@dataclass(frozen=True, slots=True)
class _Given:
    """A raw value with its place: as an origin, and as the start of an error message."""

    raw: object
    origin: str
    rank: int
    shown: str
    """The place and key, for a value to follow: ``tercio.toml:3: workers = ``."""

    def error(self, option: Option, refused: Refused) -> str:
        value = "***" if option.secret else _short(refused.value)
        reason = f" ({refused.reason})" if refused.reason else ""
        return f"{self.shown}{value}: expected {option.kind.allowed}{reason}"


def load(
    cli: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: str,
    *,
    require_app: bool = True,
    expected_files: Collection[str] = (),
) -> Settings:
    """The settings for raw flags (by field name, and ``config``), an environment and a directory.

    ``require_app`` is off where no application is served, as in `tercio config`. A configuration
    file of ``expected_files`` must be there: a reload without it would change every option.
    """
    errors: list[str] = []
    warnings: list[str] = []
    file = read_config_file(*_config_path(cli, environ), cwd, warnings, expected_files)
    from_file = _from_file(file, errors)
    env_files = _env_files(cli, environ, from_file)
    additions, places = _additions(env_files, environ, cwd, errors)
    environment = {**additions, **environ}
    warnings += _unknown_variables(environment)

    values: dict[str, object] = {}
    given: dict[str, _Given] = {}
    for name, option in OPTIONS.items():
        best = _from_cli(option, cli) or _from_environment(option, environment, places)
        # A bad value in the file is an error even where a flag outranks it.
        if (in_file := from_file.get(name)) is not None:
            parsed = _parse(option, in_file, errors)
            if best is None and parsed is not None:
                values[name], given[name] = parsed[0], in_file
        if best is not None and (parsed := _parse(option, best, errors)) is not None:
            values[name], given[name] = parsed[0], best

    _secrets_from_files(values, given, os.path.join(cwd, str(values.get("chdir", ""))), errors)
    _one_address(values, given, errors)
    if values.get("interface") == "callable":
        _as_bind(values, given)
    if require_app and not values.get("app") and values.get("interface") != "callable":
        project = django.find(os.path.join(cwd, str(values.get("chdir", ""))), environment)
        if project is not None:
            values["app"] = project.app
            given["app"] = _Given(project.app, project.origin, 0, f"{project.origin}: ")
    config = Config.from_json(values)
    if not errors:
        origins_for_checks = {name: one.origin for name, one in given.items()}
        errors += cross_checks(config, origins_for_checks, cwd, require_app=require_app)
    if errors:
        raise ConfigError(_joined(errors))
    origins = {name: given[name].origin if name in given else "default" for name in OPTIONS}
    files = (*((file.shown,) if file.path else ()), *(path for path, _ in env_files))
    return Settings(config, origins, additions, tuple(warnings), files)


def changes(old: Config, new: Config) -> list[str]:
    """The fields that differ, in the order of their declaration."""
    return [name for name in OPTIONS if getattr(old, name) != getattr(new, name)]


def refused_changes(old: Config, new: Config) -> list[str]:
    """One line for each change that a reload may not make: what changed, and what to do."""
    lines = []
    for name in changes(old, new):
        option = OPTIONS[name]
        if not option.reloadable:
            before, after = (_short(option.show(getattr(it, name))) for it in (old, new))
            lines.append(
                f"{option.key} changed from {before} to {after}, "
                f"which a reload cannot do: {option.instead}"
            )
    return lines


# --- sources -----------------------------------------------------------------------------------


def _config_path(cli: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str, str]:
    """The path of the file that was asked for, and who asked."""
    if path := cli.get("config"):
        return str(path), "--config "
    return environ.get("TERCIO_CONFIG", ""), "environment: TERCIO_CONFIG="


def _from_cli(option: Option, cli: Mapping[str, object]) -> _Given | None:
    raw = cli.get(option.field)
    # click gives () for a repeatable flag that was not there, JSON makes [] of it.
    if raw is None or raw in ((), []):
        return None
    return _Given(raw, option.flag, 3, f"{option.flag} ")


def _from_environment(
    option: Option, environ: Mapping[str, str], places: Mapping[str, str]
) -> _Given | None:
    for name in (*map(_variable, option.keys), *option.foreign_env):
        # An empty variable is how a compose file or a unit says "not set".
        if value := environ.get(name):
            origin = f"{name} in {places[name]}" if name in places else name
            place = places.get(name, "environment")
            raw: object = value
            if option.is_repeatable:
                raw = [part.strip() for part in value.split(option.kind.separator) if part.strip()]
            return _Given(raw, origin, 2, f"{place}: {name}=")
    return None


def _from_file(file: ConfigFile, errors: list[str]) -> dict[str, _Given]:
    by_key = {key: option for option in OPTIONS.values() for key in option.keys}
    found: dict[str, _Given] = {}
    for written, raw in file.table.items():
        key = written.replace("_", "-")
        place = file.place(written)
        option = by_key.get(key)
        if option is None:
            # A password under a mistyped key is a password all the same.
            value = "***" if is_secret(key) else _short(raw)
            errors.append(f"{place}: unknown key {_short(written)} = {value}{_hint(key)}")
        elif option.field in found:
            first = found[option.field].origin
            errors.append(f"{place}: {_short(written)} sets {option.key} again, after {first}")
        else:
            found[option.field] = _Given(raw, place, 1, f"{place}: {written} = ")
    return found


def _hint(key: str) -> str:
    if answer := answer_to(key):
        return f"; {answer}"
    if key in ("tool", "tercio"):
        return "; keys stand at the top level of this file, without a table"
    known = [key for option in OPTIONS.values() for key in option.keys]
    nearest = difflib.get_close_matches(key, known, 1)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return "; `tercio config` lists the keys that are allowed"


def _env_files(
    cli: Mapping[str, object], environ: Mapping[str, str], from_file: Mapping[str, _Given]
) -> list[tuple[str, str]]:
    """The path of each environment file, and who asked for it."""
    option = OPTIONS["env_file"]
    given = _from_cli(option, cli) or _from_environment(option, environ, {})
    given = given or from_file.get("env_file")
    # What is wrong with the option itself is reported with the others, once.
    parsed = _parse(option, given, []) if given is not None else None
    if given is None or parsed is None:
        return []
    return [(path, given.shown) for path in Config.from_json({"env_file": parsed[0]}).env_file]


def _additions(
    env_files: Iterable[tuple[str, str]],
    environ: Mapping[str, str],
    cwd: str,
    errors: list[str],
) -> tuple[dict[str, str], dict[str, str]]:
    """Variables of the files that the environment does not have, and the file of each."""
    additions: dict[str, str] = {}
    places: dict[str, str] = {}
    for path, asked in env_files:
        try:
            variables = read_env_file(path, asked, cwd)
        except ConfigError as error:
            errors.append(str(error))
            continue
        for name, value in variables.items():
            if name not in environ and name not in additions:
                additions[name] = value
                places[name] = path if path.isprintable() else ascii(path)
    return additions, places


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = [_variable(key) for option in OPTIONS.values() for key in option.keys]
    warnings = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in _OTHER_VARIABLES:
            key = name.removeprefix(PREFIX).lower().replace("_", "-")
            nearest = difflib.get_close_matches(name, known, 1)
            hint = answer_to(key) or (f"did you mean {nearest[0]}?" if nearest else "ignored")
            warnings.append(f"environment: {_short(name)} is no option of Tercio; {hint}")
    return warnings


def _variable(key: str) -> str:
    return PREFIX + key.replace("-", "_").upper()


# --- values ------------------------------------------------------------------------------------


def _parse(option: Option, given: _Given, errors: list[str]) -> tuple[object] | None:
    """The value in a tuple, since None is one too; None after adding an error."""
    try:
        return (option.kind.parse(given.raw),)
    except Refused as refused:
        errors.append(given.error(option, refused))
        return None


def _secrets_from_files(
    values: dict[str, object], given: dict[str, _Given], cwd: str, errors: list[str]
) -> None:
    """Read ``redis`` from the file that ``redis_file`` names, and so on; the higher rank wins."""
    for name, option in OPTIONS.items():
        path = values.get(f"{name}_file") if option.secret else None
        if not isinstance(path, str) or not path:
            continue
        by_file = given[f"{name}_file"]
        plain = given.get(name) if values.get(name) else None
        if plain is not None and plain.rank == by_file.rank:
            errors.append(f"{by_file.shown}{_short(path)}: expected it or {option.key}, not both")
        if plain is not None and plain.rank >= by_file.rank:
            continue
        try:
            content = read_secret(os.path.join(cwd, path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.reason
            errors.append(f"{by_file.shown}{_short(path)}: expected a file with it; {reason}")
            continue
        read = _Given(content, path, by_file.rank, f"{by_file.shown}{_short(path)}: ")
        if (parsed := _parse(option, read, errors)) is not None:
            values[name], given[name] = parsed[0], read


def _one_address(values: dict[str, object], given: dict[str, _Given], errors: list[str]) -> None:
    """Keep the way of naming an address that ranks highest; two of one rank contradict.

    ``PORT`` from a platform is no contradiction to anything: it only fills in.
    """

    empty = ("", (), None)

    def rank(way: tuple[str, ...]) -> float:
        # An empty one only takes back what a file says.
        named = (given[name] for name in way if name in given and values[name] not in empty)
        return max((0.5 if one.origin == "PORT" else one.rank for one in named), default=0)

    best = max(map(rank, _ADDRESSES))
    winners = [way for way in _ADDRESSES if rank(way) == best]
    if best >= 1 and len(winners) > 1:
        places = [given[name] for way in winners for name in way if name in given]
        shown = " and ".join(f"{one.shown}{_short(one.raw)}" for one in places)
        errors.append(
            f"{shown}: expected one of host and port, bind, uds or fd "
            "(bind may be repeated: 127.0.0.1:8000, unix:/run/app.sock)"
        )
        return
    for way in _ADDRESSES:
        if way not in winners:
            for name in way:
                values.pop(name, None)
                given.pop(name, None)


def _as_bind(values: dict[str, object], given: dict[str, _Given]) -> None:
    """Put a host and port that somebody named into ``bind``: there is no address by default.

    ``PORT`` from a platform is meant for what speaks HTTP.
    """
    named = [given[name] for name in ("host", "port") if name in given]
    if any(one.origin != "PORT" for one in named):
        values["bind"] = Config.from_json(
            {name: values[name] for name in ("host", "port") if name in values}
        ).binds
        given["bind"] = named[-1]


def _short(value: object) -> str:
    """A value for a message: control characters escaped, long ones cut."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:96]} ..."


def _joined(errors: list[str]) -> str:
    if len(errors) == 1:
        return errors[0]
    return "\n".join((f"{len(errors)} options cannot be used:", *(f"  {one}" for one in errors)))
