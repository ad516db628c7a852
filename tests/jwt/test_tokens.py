"""What tokens promise, on every engine. Two `Tokens` over one state are two workers."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import KeySet, OctKey, OKPKey, RSAKey

from tercio import cluster
from tercio.errors import ConfigError, StateUnavailable
from tercio.jwt import InvalidToken, Tokens
from tercio.state.state import State
from tests.jwt.asking import ask, guarded, unpacked
from tests.state.engines import Clock, Subject

DAY = 86400.0

Make = Callable[..., Tokens]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(state: State, clock: Clock) -> Make:
    """One more worker."""

    def made(**more: Any) -> Tokens:
        options = {"issuer": "shop", "audience": "a", "state": state, "clock": clock}
        return Tokens(**{**options, **more})

    return made


def kid(token: str) -> str:
    return str(unpacked(token.split(".")[0])["kid"])


async def is_good(tokens: Tokens, token: str) -> bool:
    try:
        await tokens.verify(token)
    except InvalidToken:
        return False
    return True


async def test_what_one_worker_signs_the_other_one_believes(make: Make, clock: Clock) -> None:
    one, two = make(), make()
    token = await one.sign("ada", role="admin", lifetime=60)
    claims = await two.verify(token)
    assert (claims.subject, claims["role"], claims.get("x", 1)) == ("ada", "admin", 1)
    assert (claims.issued, claims.expires) == (clock.now, clock.now + 60)
    assert dict(claims.values) == {
        "iss": "shop",
        "aud": "a",
        "sub": "ada",
        "jti": claims.id,
        "iat": claims.issued,
        "exp": claims.expires,
        "role": "admin",
    }
    assert await is_good(one, await two.sign("ada"))
    clock.now += 60 + 10 - 0.001
    assert await is_good(two, token), "clocks may differ by the leeway"
    clock.now += 0.001
    assert not await is_good(two, token)


async def test_workers_that_begin_together_make_one_key(make: Make) -> None:
    workers = [make() for _ in range(8)]
    tokens = await asyncio.gather(*(each.sign("ada") for each in workers))
    assert len({kid(each) for each in tokens}) == 1
    assert all([await is_good(each, tokens[0]) for each in workers])


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256", "RS256", "HS256"])
async def test_a_stranger_verifies_with_the_public_keys(make: Make, algorithm: str) -> None:
    tokens = make(algorithm=algorithm)
    token = await tokens.sign("ada")
    public = await tokens.jwks()
    if algorithm == "HS256":
        assert public == {"keys": []}, "its keys are secret"
        return
    assert [set(key) & {"d", "p", "q", "k"} for key in public["keys"]] == [set()]
    keys: Any = KeySet.import_key_set(public)  # type: ignore[arg-type]
    assert jws.deserialize_compact(token, keys, algorithms=[algorithm])


async def test_another_issuer_audience_name_or_algorithm_is_another_token(make: Make) -> None:
    token = await make().sign("ada")
    for other in [{"issuer": "b"}, {"audience": "b"}, {"name": "b"}, {"algorithm": "HS256"}]:
        assert not await is_good(make(**other), token), other


# Keys that change


async def test_a_key_is_published_signs_later_and_verifies_until_its_last_token_is_over(
    make: Make, clock: Clock
) -> None:
    options = {"rotate_every": DAY, "propagation": 300, "lifetime": 3600}
    one, two = make(**options), make(**options)
    begun = clock.now
    first = kid(await one.sign("ada"))

    clock.now = begun + DAY - 301
    assert kid(await one.sign("ada")) == first
    assert len((await two.jwks())["keys"]) == 1
    clock.now = begun + DAY - 299
    await one.sign("ada")
    clock.now += 2  # the other worker looks once a second
    keys = [key["kid"] for key in (await two.jwks())["keys"]]
    assert keys[0] == first
    assert len(keys) == 2, "the next one is to be fetched before it signs"
    last = await two.sign("ada")
    assert kid(last) == first

    clock.now = begun + DAY + 2
    new = [await one.sign("ada"), await two.sign("ada")]
    assert [kid(each) for each in new] == [keys[1]] * 2, "in the same moment, at both"
    assert await is_good(one, last)
    assert await is_good(one, new[1])
    assert await is_good(two, new[0])
    clock.now = begun + DAY + 3600 + 200
    assert [key["kid"] for key in (await two.jwks())["keys"]] == [keys[1]], "retired for good"


async def test_a_key_that_was_stolen_after_its_time_signs_nothing(make: Make, clock: Clock) -> None:
    one = make(lifetime=60)
    stolen = await one.sign("ada")
    (old,) = (await one._keys.all(one._state, clock.now))[:1]
    await one.rotate()
    clock.now += 300 + 60 + 200
    two = make(lifetime=60)
    assert kid(await two.sign("ada")) != old.id
    claims = unpacked(stolen.split(".")[1])
    forged = old.sign({**claims, "iat": clock.now, "exp": clock.now + 50})
    for worker in (one, two):
        answer = await ask(guarded(worker), f"Bearer {forged}")
        assert (answer.status, answer.body) == (401, b'{"detail":"Not authenticated"}')


async def test_two_who_rotate_make_one_key(make: Make, clock: Clock) -> None:
    one, two = make(), make()
    before = kid(await one.sign("ada"))
    names = await asyncio.gather(one.rotate(), two.rotate(), one.rotate())
    assert len(set(names)) == 1
    assert kid(await two.sign("ada")) == before
    clock.now += 301
    assert {kid(await one.sign("ada")), kid(await two.sign("ada"))} == set(names)


async def test_a_stolen_key_is_refused_by_workers_that_have_not_looked_again(
    make: Make, clock: Clock
) -> None:
    one, two = make(), make()
    token = await one.sign("ada")
    assert await is_good(two, token)
    new = await one.rotate(at_once=True)
    assert not await is_good(two, token), "in the same instant"
    assert not await is_good(one, token)
    assert kid(await one.sign("ada")) == new
    assert await is_good(two, await one.sign("ada")), "an unknown key makes it look"
    clock.now += 1
    assert kid(await two.sign("ada")) == new


async def test_a_ring_that_nobody_used_for_years_goes_on(make: Make, clock: Clock) -> None:
    first = kid(await make().sign("ada"))
    clock.now += 1000 * DAY
    one = make()
    token = await one.sign("ada")
    assert kid(token) == first, "a key is published before it signs, also then"
    clock.now += 301
    assert kid(await one.sign("ada")) != first
    assert await is_good(one, token)


async def test_a_reload_that_shortens_tokens_forgets_no_key_and_no_revocation(
    make: Make, clock: Clock, subject: Subject
) -> None:
    old = make(lifetime=DAY)
    revoked, kept = await old.sign("ada"), await old.sign("bob")
    new = make(lifetime=60)
    await new.rotate()
    await new.revoke_subject("ada")
    clock.now += 3600
    if subject.engine.__class__.__name__ != "RedisState":  # whose clock is the world's
        await subject.pass_time(3600)
    assert await is_good(new, kept)
    assert not await is_good(new, revoked)


# What is revoked


async def test_a_revoked_token_is_refused_by_the_other_worker_at_once(make: Make) -> None:
    one, two = make(), make()
    bad, good = await one.sign("ada"), await one.sign("ada")
    claims = await two.verify(bad)
    await one.revoke(claims)
    answer = await ask(guarded(two), f"Bearer {bad}")
    assert (answer.status, answer.body) == (401, b'{"detail":"Not authenticated"}')
    assert await is_good(two, good)
    await two.revoke((await one.verify(good)).id)
    assert not await is_good(one, good)


async def test_all_of_a_subject_so_far_is_refused_and_a_new_login_is_not(
    make: Make, clock: Clock
) -> None:
    one, two = make(), make()
    before = [await one.sign("ada"), await two.sign("ada")]
    other = await one.sign("bob")
    clock.now += 0.000_001
    await one.revoke_subject("ada")
    clock.now += 0.000_001
    after = await two.sign("ada")
    assert [await is_good(two, each) for each in [*before, other, after]] == [False] * 2 + [
        True
    ] * 2


async def test_an_entry_goes_when_the_token_does(
    make: Make, state: State, clock: Clock, subject: Subject
) -> None:
    tokens = make(lifetime=30)
    claims = await tokens.verify(await tokens.sign("ada"))
    await tokens.revoke(claims)
    kept = state.namespace(".jwt").namespace("tokens")
    (name,) = [name async for name, _ in kept.scan("token:")]
    left = await kept.ttl(name)
    assert left is not None
    assert 30 < left <= 30 + 2 * 60
    clock.now += 200
    await tokens.revoke(claims)  # it is over already


async def test_to_verify_reads_the_state_once(make: Make, subject: Subject, clock: Clock) -> None:
    tokens = make()
    token = await tokens.sign("ada")
    await tokens.verify(token)
    before = subject.engine.counters()
    for _ in range(10):
        await tokens.verify(token)
    after = subject.engine.counters()
    assert sum(after.get(n, 0) - before.get(n, 0) for n in ("reads", "writes", "commands")) <= 10


async def test_a_state_that_is_away_lets_nobody_in(make: Make, subject: Subject) -> None:
    tokens = make()
    token = await tokens.sign("ada")

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(subject.engine, name)

        async def run(self, verb: object) -> object:
            raise StateUnavailable("it is away")

    other: Any = Away()
    away = make(state=State(other))
    with pytest.raises(StateUnavailable):
        await away.verify(token)
    answer = await ask(guarded(away), f"Bearer {token}")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


# Keys from outside, and options


async def test_a_secret_of_the_cluster_signs(make: Make) -> None:
    with cluster.fresh():
        old = make(algorithm="HS256", key=cluster.secrets("jwt"))
        token = await old.sign("ada")
        cluster.rotate_secret("jwt")
        new = make(algorithm="HS256", key=cluster.secrets("jwt"))
        assert await is_good(new, token), "the one before verifies"
        assert not await is_good(old, await new.sign("ada"))
        with pytest.raises(ConfigError, match="from outside"):
            await new.rotate()
        await old.revoke_subject("ada")
        assert not await is_good(new, token)


async def test_who_has_the_public_key_only_verifies(make: Make) -> None:
    key = OKPKey.generate_key("Ed25519")
    token = await make(key=key.as_pem(private=True)).sign("ada")
    public = make(key=key.as_pem(private=False))
    assert await is_good(public, token)
    with pytest.raises(ConfigError, match="is public"):
        await public.sign("ada")


WEAK = generate_private_key(65537, 1024).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
RSA = RSAKey.generate_key(2048)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "short": ({"algorithm": "HS256", "key": "x" * 31}, "31 bytes"),
    "short jwk": ({"algorithm": "HS256", "key": {"kty": "oct", "k": "c2VjcmV0"}}, "6 bytes"),
    "pem": ({"algorithm": "HS256", "key": RSA.as_pem(private=False)}, "not a PEM"),
    "jwk": ({"algorithm": "HS256", "key": RSA.as_dict(private=False)}, "another type"),
    "other": ({"algorithm": "ES256", "key": RSA.as_pem()}, "cannot be read|not fit"),
    "curve": ({"key": OKPKey.generate_key("Ed448").as_pem()}, "curve Ed25519"),
    "weak": ({"algorithm": "RS256", "key": WEAK}, "1024 bits"),
    "junk": ({"key": "-----BEGIN PRIVATE KEY-----\njunk"}, "cannot be read"),
    "oct": ({"key": OctKey.generate_key(256).as_dict()}, "cannot be read|not fit"),
    "none": ({"algorithm": "none"}, "expected one of"),
    "no keys": ({"key": []}, "one at least"),
    "leeway": ({"leeway": 61}, "0 to 60"),
    "lifetime": ({"lifetime": 0}, "above 0"),
    "issuer": ({"issuer": ""}, "must not be empty"),
    "propagation": ({"propagation": 1}, "2 or more"),
    "rotation": ({"rotate_every": 300}, "more than propagation"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_what_would_be_weak_is_refused_at_the_start(name: str) -> None:
    options, said = WRONG[name]
    with pytest.raises(ConfigError, match=said) as refused:
        Tokens(**{"issuer": "shop", "audience": "a", **options})
    assert "x" * 31 not in str(refused.value), "a message shows no key"


async def test_what_cannot_be_signed_is_refused(make: Make) -> None:
    tokens = make(lifetime=60)
    for options, error in [
        ({"subject": ""}, ValueError),
        ({"subject": "ada", "lifetime": 61}, ValueError),
        ({"subject": "ada", "exp": 1}, ValueError),
        ({"subject": "ada", "x": float("nan")}, ValueError),
        ({"subject": "ada", "x": "x" * 9000}, ValueError),
        ({"subject": "ada", "x": object()}, TypeError),
    ]:
        wrong: Any = options
        with pytest.raises(error):
            await tokens.sign(**wrong)


async def test_the_reason_is_in_the_log_and_nowhere_else(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    token = await make().sign("ada")
    with caplog.at_level(logging.DEBUG, "tercio.jwt"), pytest.raises(InvalidToken) as refused:
        await make(audience="b").verify(token)
    assert str(refused.value) == "the token is not valid"
    assert refused.value.__cause__ is None
    assert "another audience" in caplog.text
    assert token not in caplog.text
