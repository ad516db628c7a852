"""Turn values into bytes and back: msgpack, by msgspec, with limits. Never pickle.

Anything that msgpack knows, and what msgspec makes of dataclasses, structs, dates, UUIDs and enums.
What comes back without a type is what msgpack knows: a tuple or a set is a list then, a dataclass a
dict, a date or a Decimal a string, and what is a kind of string is one.
With ``type`` it is checked and built again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, cast, overload

import msgspec

from tercio.errors import Unencodable, ValueTooLarge, WrongType

T = TypeVar("T")

VALUE_LIMIT: Final = 16 << 20
"""Bytes of one value of the state."""


def _plain(value: object) -> object:
    """What one of a subclass is a kind of: a template engine's safe strings, NumPy's floats."""
    match value:
        case str():
            return str.__str__(value)  # `str()` gives back what calls itself a string
        case bytes():
            return bytes(value)
        case int():
            return int(value)
        case float():
            return float(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder: Final = msgspec.msgpack.Decoder()


UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What an `encoder` raises."""


def encoder() -> Callable[[object], bytes]:
    """What encodes one value after the other, of any size, at the least cost."""
    return _encoder.encode


def encode(value: object, limit: int = VALUE_LIMIT) -> bytes:
    """The value as msgpack. Raises `Unencodable` or `ValueTooLarge`."""
    try:
        body = _encoder.encode(value)
    except UNENCODABLE as error:
        raise Unencodable(
            f"a value of type {type(value).__name__} cannot be shared: {error}; use None, bool, "
            "int, float, str, bytes, list, dict, a dataclass, or encode it to bytes yourself"
        ) from error
    if len(body) > limit:
        raise ValueTooLarge(f"a value of {len(body)} bytes: the limit is {limit}")
    return body


@overload
def decode(body: bytes | memoryview) -> object: ...
@overload
def decode(body: bytes | memoryview, type: type[T]) -> T: ...


def decode(body: bytes | memoryview, type: object = None) -> object:
    """The value that was encoded. Raises `WrongType` if it is no value, or not of ``type``."""
    try:
        return _decoder.decode(body) if type is None else _decoder_of(type).decode(body)
    except (msgspec.DecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        wanted = "" if type is None else f" as {getattr(type, '__name__', type)}"
        raise WrongType(f"a stored value cannot be read{wanted}: {error}") from error


UNREADABLE: Final = (msgspec.DecodeError, RecursionError)
"""What a `decoder_for` raises."""


def decoder_for(type: object) -> Callable[[bytes], object]:
    """What decodes one value after the other as ``type``, at the least cost."""
    return _decoder.decode if type is None else _decoder_of(type).decode


@lru_cache(maxsize=256)
def _decoder_of(type: object) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(cast("Any", type))
