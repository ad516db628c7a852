"""Keys that sign and verify, by joserfc. The only module that imports it.

A key has one algorithm. That of a token's header is compared with it, and chooses nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, generate_key, import_key
from joserfc.util import urlsafe_b64decode

from tercio.errors import ConfigError
from tercio.jwt.claims import Refused
from tercio.jwt.ring import Jwk

Algorithm = Literal["Ed25519", "ES256", "RS256", "HS256"]
Given = str | bytes | Mapping[str, Any]

_KINDS: Final[dict[str, tuple[type[Key], Any]]] = {
    "Ed25519": (OKPKey, "Ed25519"),
    "ES256": (ECKey, "P-256"),
    "RS256": (RSAKey, 2048),
    "HS256": (OctKey, 256),
}
_LEAST_BYTES: Final = 32  # of a key for HS256, RFC 7518 3.2
_LEAST_BITS: Final = 2048  # of a key for RS256, RFC 7518 3.3
_HEADER: Final = frozenset({"alg", "typ", "kid"})
"""All that our tokens have. ``jwk``, ``jku``, ``x5u`` name a key of the sender's choice, and what
is in ``crit`` would have to be understood."""
MOST_BYTES: Final = 8192
"""Of a token; servers take no longer header lines either."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with its name and its one algorithm."""

    id: str
    algorithm: str
    key: Key

    @property
    def is_private(self) -> bool:
        """Whether it can sign."""
        return bool(self.key.is_private)

    def sign(self, values: dict[str, object]) -> str:
        """A token. Raises `TypeError` or `ValueError` for what JSON does not know."""
        payload = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.id}
        return jws.serialize_compact(header, payload, self.key, algorithms=[self.algorithm])

    def public(self) -> dict[str, object]:
        """As an entry of a JWKS."""
        parts = self.key.as_dict(private=False)
        return {**parts, "kid": self.id, "alg": self.algorithm, "use": "sig"}


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that was read, and not believed."""

    text: bytes
    id: str
    """Of the key that it names."""
    algorithm: str

    def values(self, key: SigningKey) -> object:
        """What it says. Raises `Refused` unless that key signed it."""
        if self.algorithm != key.algorithm:
            raise Refused(f"it says {self.algorithm!r:.50}, its key is for {key.algorithm}")
        try:
            found = jws.deserialize_compact(self.text, key.key, algorithms=[key.algorithm])
            return json.loads(found.payload or b"")
        except (JoseError, ValueError, RecursionError) as error:
            raise Refused(f"it is not signed by key {key.id}: {type(error).__name__}") from None


def read(text: object) -> Unverified:
    """Take a token apart. Raises `Refused` for what is none of ours."""
    if not isinstance(text, str) or not text.isascii() or len(text) > MOST_BYTES:
        raise Refused("it is no text, or too long")
    if text.count(".") != 2:
        raise Refused("it has not three parts")
    encoded = text.encode()
    try:
        header = jws.extract_compact(encoded).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Refused(f"its header cannot be read: {type(error).__name__}") from None
    if not isinstance(header, dict) or header.keys() != _HEADER:
        raise Refused(f"its header has other members than ours: {sorted(header)!r:.100}")
    id, algorithm = header["kid"], header["alg"]
    if not isinstance(id, str) or not isinstance(algorithm, str) or header["typ"] != "JWT":
        raise Refused("its header has other types than ours")
    return Unverified(encoded, id, algorithm)


def checked_algorithm(algorithm: str) -> str:
    """Raises `ConfigError` for one that we don't use."""
    if algorithm not in _KINDS:
        raise ConfigError(f"jwt: algorithm={algorithm!r}: expected one of {', '.join(_KINDS)}")
    return algorithm


def make(algorithm: str) -> tuple[str, Jwk]:
    """A new key: its name, and it as a JWK. RSA takes some tenths of a second."""
    kind, detail = _KINDS[algorithm]
    key = generate_key(cast("Any", kind.key_type), detail)
    return _name(key), cast("Jwk", dict(key.as_dict(private=True)))


@lru_cache(maxsize=64)
def _kept(id: str, algorithm: str, jwk: str) -> SigningKey:
    return SigningKey(id, algorithm, _import(json.loads(jwk), algorithm))


def of_ring(id: str, algorithm: str, jwk: Jwk) -> SigningKey:
    """A key of the ring, ready to use."""
    return _kept(id, algorithm, json.dumps(jwk, sort_keys=True))


def given(key: Given, algorithm: str) -> SigningKey:
    """A key from outside: a PEM, a JWK, or the secret of HS256. Raises `ConfigError`."""
    made = _import(key, algorithm)
    return SigningKey(_name(made), algorithm, made)


def _import(key: Given, algorithm: str) -> Key:
    kind, detail = _KINDS[algorithm]
    try:
        if algorithm == "HS256":
            made: Key = OctKey.import_key(_secret(key))
        else:
            material: Any = dict(key) if isinstance(key, Mapping) else key
            made = import_key(material, cast("Any", kind.key_type))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        # Without its text: it may quote the key.
        raise ConfigError(
            f"jwt: the key cannot be read for {algorithm}: {type(error).__name__}"
        ) from None
    fault = _fault(made, kind, detail)
    if fault:
        raise ConfigError(f"jwt: the key is not fit for {algorithm}: {fault}")
    return made


def _secret(key: Given) -> bytes:
    if isinstance(key, Mapping):
        if key.get("kty") != "oct":  # a public key as a secret is known to everybody
            raise ConfigError("jwt: HS256 takes a secret, not a key of another type")
        secret = urlsafe_b64decode(str(key["k"]).encode())
    else:
        secret = key.encode() if isinstance(key, str) else bytes(key)
    if secret.lstrip().startswith((b"-----BEGIN", b"ssh-", b"ecdsa-", b"{")):
        raise ConfigError("jwt: HS256 takes a secret, not a PEM, an SSH key or a JWK's text")
    if len(secret) < _LEAST_BYTES:
        raise ConfigError(
            f"jwt: the key for HS256 has {len(secret)} bytes, and needs {_LEAST_BYTES} at least; "
            "`openssl rand -hex 32` prints one"
        )
    return secret


def _fault(key: Key, kind: type[Key], detail: object) -> str:
    if not isinstance(key, kind):
        return f"expected a key of type {kind.key_type}"
    match key:
        case RSAKey() if key.public_key.key_size < _LEAST_BITS:
            return f"it has {key.public_key.key_size} bits, and needs {_LEAST_BITS}"
        case ECKey() | OKPKey() if key.curve_name != detail:
            return f"expected the curve {detail}"
    return ""


def _name(key: Key) -> str:
    """The same for the same key, in every process."""
    return hashlib.sha256(b"tercio jwt key " + key.thumbprint().encode()).hexdigest()[:24]
