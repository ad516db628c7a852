"""Read the token file of the admin API: who may do what."""

import hmac
import os
import re
import stat
from dataclasses import dataclass
from typing import Final

from tercio.errors import ConfigError

SCOPES: Final = ("read", "operate", "admin")
"""Each includes those before it."""

_MOST_BYTES: Final = 64 * 1024
_MOST: Final = 100
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{22,512}")  # 22 of base64 are 132 bits
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_DISTINCT: Final = 8  # fewer different letters are no random token


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    scope: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<Token for {self.scope}>"  # never the secret: it would reach a traceback


def read_tokens(path: str) -> tuple[Token, ...]:
    """The tokens of a file. Raises `ConfigError`, which never quotes one."""
    try:
        # O_NONBLOCK: a FIFO must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"admin-token-file: {path!r} cannot be read: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"admin-token-file: {path!r} is no file")
        if found.st_mode & 0o077:
            raise ConfigError(f"admin-token-file: {path!r} can be read by others: chmod 600 it")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"admin-token-file: {path!r} belongs to another user")
        text = file.read(_MOST_BYTES).decode("ascii", "replace")
    return _parsed(text, path)


def _parsed(text: str, path: str) -> tuple[Token, ...]:
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"admin-token-file: {path!r}, line {number}"
        if len(words) != 2 or words[0] not in SCOPES:
            raise ConfigError(f"{where}: expected 'read', 'operate' or 'admin' and a token")
        if not is_strong(words[1]):
            raise ConfigError(f"{where}: expected 128 random bits, as of `openssl rand -hex 16`")
        tokens.append(Token(words[0], words[1].encode()))
    if not 1 <= len(tokens) <= _MOST:
        raise ConfigError(f"admin-token-file: {path!r}: expected 1 to {_MOST} tokens")
    return tuple(tokens)


def is_strong(secret: str) -> bool:
    """Whether a token may have 128 bits, by its length and its letters."""
    if not _TOKEN.fullmatch(secret) or len(set(secret)) < _DISTINCT:
        return False
    return len(secret) >= 32 or not _HEX.fullmatch(secret)


def find(tokens: tuple[Token, ...], given: bytes) -> Token | None:
    """The token that was given, in a time that says nothing about the others."""
    found = None
    for token in tokens:
        if hmac.compare_digest(token.secret, given):
            found = token
    return found
