"""T11: what others made up, changed or kept is refused, and all alike."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from tercio.engines.local.state import LocalState
from tercio.jwt import Tokens
from tercio.state.state import State
from tests.jwt.asking import ask, guarded, packed, unpacked
from tests.state.engines import Clock

KEYS: dict[str, Key] = {
    "Ed25519": OKPKey.generate_key("Ed25519"),
    "ES256": ECKey.generate_key("P-256"),
    "RS256": RSAKey.generate_key(2048),
    "HS256": OctKey.generate_key(256),
}
OTHERS: dict[str, Key] = {
    "Ed25519": OKPKey.generate_key("Ed25519"),
    "ES256": ECKey.generate_key("P-256"),
    "RS256": RSAKey.generate_key(2048),
    "HS256": OctKey.generate_key(256),
}
ALGORITHMS = sorted(KEYS)
ASYMMETRIC = [name for name in ALGORITHMS if name != "HS256"]
SAME_TYPE = {
    "Ed25519": ["EdDSA"],
    "ES256": ["ES384"],
    "RS256": ["RS512", "PS256"],
    "HS256": ["HS384", "HS512"],
}


class Forger:
    """Has a good token of somebody else's, all public keys, and keys of its own."""

    def __init__(self, algorithm: str, good: str, clock: Clock) -> None:
        self.algorithm = algorithm
        self.good = good
        self.clock = clock
        self.key = KEYS[algorithm]
        self.header, self.claims = (unpacked(part) for part in good.split(".")[:2])

    def signed(
        self, key: Key | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """By the true key unless another one is given; a claim None is left out."""
        wanted = {**self.header, **(header or {})}
        values = {k: v for k, v in {**self.claims, **claims}.items() if v is not None}
        signing = f"{packed(wanted)}.{packed(values)}"
        model = jws.JWSRegistry.algorithms[wanted["alg"]]
        return f"{signing}.{packed(model.sign(signing.encode(), key or self.key))}"

    def by_hmac(self, secret: bytes, **header: Any) -> str:
        signing = f"{packed({**self.header, 'alg': 'HS256', **header})}.{packed(self.claims)}"
        return f"{signing}.{packed(hmac.digest(secret, signing.encode(), hashlib.sha256))}"

    def unsigned(self, alg: object, signature: str = "") -> str:
        return f"{packed({**self.header, 'alg': alg})}.{packed(self.claims)}.{signature}"


def some(*values: Any) -> tuple[Any, ...]:
    return values


Forgery = Callable[[Forger], str | list[str]]

# Each is what the one who has all keys may be talked into; those of FOREIGN need a public key.
FORGERIES: dict[str, Forgery] = {
    "alg none in several spellings": lambda f: [
        f.unsigned(alg, signature)
        for alg in some("none", "None", "NONE", "nOnE", "", None, [], {}, 0, "none ")
        for signature in ("", f.good.split(".")[2])
    ],
    "an embedded jwk": lambda f: f.signed(
        OTHERS[f.algorithm],
        {"jwk": OTHERS[f.algorithm].as_dict(private=f.algorithm == "HS256")},
    ),
    "jku, x5u and x5c name other keys": lambda f: [
        f.signed(OTHERS[f.algorithm], {name: value})
        for name, value in [
            ("jku", "https://evil.example/jwks.json"),
            ("x5u", "https://evil.example/cert.pem"),
            ("x5c", ["MIIB"]),
        ]
    ]
    + [f.signed(None, {"jku": "https://evil.example"})],
    "kid is a path, SQL or no text": lambda f: [
        f.signed(OTHERS[f.algorithm], {"kid": kid})
        for kid in ("../../dev/null", "x' UNION SELECT 'k", "", "\0", "k" * 300, None, 1, ["a"])
    ]
    + [f.by_hmac(b"", kid="../../dev/null")],
    "the kid of another key": lambda f: f.signed(OTHERS[f.algorithm]),
    "another issuer": lambda f: [f.signed(iss=iss) for iss in some("evil", "", ["shop"], None)],
    "another audience": lambda f: [f.signed(aud=aud) for aud in some("b", "", ["b"], [], {}, None)],
    "expired": lambda f: [
        f.signed(exp=f.clock.now - seconds, iat=f.clock.now - 900) for seconds in (10, 3600)
    ],
    "not valid yet": lambda f: [f.signed(nbf=f.clock.now + 60), f.signed(iat=f.clock.now + 60)],
    "no exp, or no time": lambda f: [
        f.signed(exp=exp) for exp in some(None, "9999999999", True, [], float("inf"), float("nan"))
    ],
    "without what all have": lambda f: [
        f.signed(None, None, **{name: value})
        for name in ("iat", "jti", "sub")
        for value in some(None, "", {}, [1])
    ],
    "a tampered payload": lambda f: ".".join(
        [
            f.good.split(".")[0],
            packed({**f.claims, "sub": "admin"}),
            f.good.split(".")[2],
        ]
    ),
    "a crit header": lambda f: [
        f.signed(None, {"crit": ["exp"]}),
        f.signed(None, {"crit": ["b64"], "b64": True}),
        f.signed(None, {"crit": []}),
    ],
    "another algorithm of the same type": lambda f: [
        f.unsigned(alg, f.good.split(".")[2]) if alg == "ES384" else f.signed(None, {"alg": alg})
        for alg in SAME_TYPE[f.algorithm]
    ],
    "no token": lambda f: [
        "", ".", "..", "a.b.c", "é.é.é", f.good + ".", f.good[:-40], f.good + "A" * 9000,
        f.good.replace(".", "..", 1), json.dumps({"payload": "e30", "signatures": []}),
    ],
    "no JSON object": lambda f: [
        f"{packed(header)}.{packed(claims)}.AA"
        for header in (b"[]", b"null", b"1", b"{", b"\xff", b"[" * 900)
        for claims in (b"{}", b"[]")
    ],
}  # fmt: skip


def tokens_with(algorithm: str, clock: Clock) -> Tokens:
    jwk: Any = KEYS[algorithm].as_dict(private=True)
    kinds: Any = algorithm
    return Tokens(
        issuer="shop",
        audience="a",
        algorithm=kinds,
        key=jwk,
        state=State(LocalState(clock)),
        clock=clock,
    )


async def refused(tokens: Tokens, forged: list[str]) -> None:
    app, bodies = guarded(tokens), set()
    for each in forged:
        answer = await ask(app, f"Bearer {each}")
        assert answer.status == 401, each
        bodies.add((answer.body, answer.headers["www-authenticate"]))
    assert bodies == {(b'{"detail":"Not authenticated"}', 'Bearer error="invalid_token"')}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the forger's own
async def test_a_forgery_is_refused_and_tells_nothing(name: str, algorithm: str) -> None:
    clock = Clock()
    tokens = tokens_with(algorithm, clock)
    forger = Forger(algorithm, await tokens.sign("ada", role="user"), clock)
    assert (await ask(guarded(tokens), f"Bearer {forger.signed()}")).status == 200, "a good one is"
    made = FORGERIES[name](forger)
    await refused(tokens, [made] if isinstance(made, str) else made)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """CVE-2022-29217, CVE-2024-33663, CVE-2026-48526: signed with what everybody knows."""
    clock = Clock()
    tokens = tokens_with(algorithm, clock)
    forger = Forger(algorithm, await tokens.sign("ada"), clock)
    key: Any = forger.key
    (jwk,) = (await tokens.jwks())["keys"]
    assert "d" not in jwk, "that would be private"
    secrets = [
        key.as_pem(private=False),
        key.as_pem(private=False).strip(),
        key.as_der(private=False),
        json.dumps(jwk).encode(),
        json.dumps(key.as_dict(private=False)).encode(),
        str(key.as_dict(private=False)["n" if algorithm == "RS256" else "x"]).encode(),
    ]
    await refused(tokens, [forger.by_hmac(secret) for secret in secrets])


async def test_two_tokens_in_one_request_are_none() -> None:
    tokens = tokens_with("HS256", Clock())
    good = await tokens.sign("ada")
    app = guarded(tokens)
    assert (await ask(app, f"Bearer {good}")).body == b"ada"
    assert (await ask(app, f"bearer  {good}")).status == 200, "a scheme is in any case"
    for wrong in ([f"Bearer {good}"] * 2, [f"Basic {good}"], [good], ["Bearer"], [""]):
        assert (await ask(app, *wrong)).status == 401, wrong
