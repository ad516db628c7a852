"""Keep secrets out of what Tercio says: log lines, events, tracebacks, dumps, status.

A secret is the value of an option that is one, of a variable whose name says so, or the password
in a URL. Each process learns its secrets once, and `redact` looks for them in text. This is a net
below careful code, not instead of it: what is short or was changed on its way is not found.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

HIDDEN: Final = "***"

_SHORTEST: Final = 4
"""Characters of an option's value; "1" or "no" would black out half of all lines."""

_SHORTEST_VARIABLE: Final = 8

_NAMES: Final = re.compile(
    "PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    "|SIGNING_?KEY|ENCRYPTION_?KEY|_(PASS|PWD|KEY|SALT)$",
    re.IGNORECASE,
)

# scheme://user:password@: the user may be missing, the password may hold anything but these.
_IN_URL: Final = re.compile(r"(?<=://)([^\s/:@\"'<>]*):([^\s/@\"'<>]+)@")


class _Known:
    values: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None


def learn(values: Iterable[str]) -> None:
    """Hide these from now on; of a URL the password alone."""
    found: set[str] = set()
    for value in values:
        if (match := _IN_URL.search(value)) is not None:
            value = match[2]
        if len(value) >= _SHORTEST:
            found |= {value, unquote(value), quote(value, safe="")}
    if found <= _Known.values:
        return
    _Known.values |= found
    # The longest first: one may be the beginning of another.
    longest_first = sorted(_Known.values, key=len, reverse=True)
    _Known.pattern = re.compile("|".join(map(re.escape, longest_first)))


def learn_environ(environ: Mapping[str, str]) -> None:
    """Hide the values of variables that look like secrets."""
    learn(
        value
        for name, value in environ.items()
        if (_NAMES.search(name) and _is_telling(name, value)) or _IN_URL.search(value)
    )


def _is_telling(name: str, value: str) -> bool:
    # A path says where a secret is, not what it is.
    is_place = value.startswith(("/", "./")) or name.upper().endswith(("_FILE", "_PATH", "_DIR"))
    return len(value) >= _SHORTEST_VARIABLE and not is_place


def redact(text: str) -> str:
    """The text with ``***`` in place of every secret that is known, and of passwords in URLs."""
    if _Known.pattern is not None:
        text = _Known.pattern.sub(HIDDEN, text)
    if "://" in text:
        text = _IN_URL.sub(rf"\1:{HIDDEN}@", text)
    return text


def redacted(value: object, depth: int = 8) -> object:
    """The same of texts within lists and tables, as JSON has them, down to some depth."""
    if not depth:
        return value  # it may be a ring
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: redacted(each, depth - 1) for key, each in value.items()}
        case list():
            return [redacted(each, depth - 1) for each in value]
        case tuple():
            return tuple(redacted(each, depth - 1) for each in value)
    return value
