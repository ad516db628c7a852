"""Who gets which reply, and what becomes of commands when the server or the line fails."""

import asyncio
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from tercio.codec import encode
from tercio.engines.redis.state import RedisState
from tercio.engines.redis.url import Address
from tercio.errors import ConfigError, StateBusy, StateError, StateUnavailable, WrongType
from tercio.state import verbs
from tests.engines.redis.conftest import MakeServer
from tests.engines.redis.proxy import Proxy
from tests.engines.redis.valkey import Valkey


def proxied(proxy: Proxy, options: str = "") -> RedisState:
    return RedisState(Address.parse(f"redis://127.0.0.1:{proxy.port}{options}"))


async def until_up(state: RedisState) -> None:
    while not state.readiness.is_up:
        await asyncio.sleep(0.01)


async def test_no_reply_reaches_another_after_a_thousand_cancellations(server: Valkey) -> None:
    async with Proxy(server.path, delay=0.1) as proxy:
        state = proxied(proxy, "?timeout=10s")
        await asyncio.gather(
            *(
                state.run(verbs.Set(b"%d" % number, encode(f"value {number}")))
                for number in range(1000)
            )
        )
        cancelled = answered = 0
        asking = []
        for number in range(2000):
            task = asyncio.ensure_future(state.run(verbs.Get(b"%d" % (number % 1000))))
            asking.append(task)
            if number % 2:
                # At every stage: not sent yet, on its way, its reply on the way back.
                asyncio.get_running_loop().call_later(number % 130 / 1000, task.cancel)
            if number % 20 == 0:
                await asyncio.sleep(0)
        await asyncio.wait(asking)
        for number, task in enumerate(asking):
            if task.cancelled():
                cancelled += 1
            else:
                answered += 1
                assert task.result() == encode(f"value {number % 1000}")
        assert cancelled > 500
        assert answered >= 1000
        assert proxy.connections == 1
        await state.close()


async def test_a_stopped_server_costs_a_second_and_is_found_again(server: Valkey) -> None:
    state = RedisState(Address.parse(server.url))
    await state.run(verbs.Incr(b"n"))
    server.stop()
    began = time.monotonic()
    with pytest.raises(StateUnavailable, match="unknown"):
        await state.run(verbs.Incr(b"n"))
    assert 0.8 < time.monotonic() - began < 5
    while "no connection" not in state.readiness.reason:
        await asyncio.sleep(0.01)
    while time.monotonic() - began < 2.5:
        # Whoever comes now does not wait: it is known that nobody answers.
        with pytest.raises(StateUnavailable, match="nothing was sent"):
            await state.run(verbs.Incr(b"other"))
        await asyncio.sleep(0.05)
    server.go_on()
    await until_up(state)
    assert await state.run(verbs.Incr(b"n", 0)) in (1, 2)
    assert await state.run(verbs.Get(b"other")) is None
    counters = state.counters()
    assert counters["redis_timeouts"] >= 1
    assert counters["redis_reconnects"] >= 1
    assert counters["redis_refused"] >= 1
    await state.close()


async def test_commands_wait_for_a_server_that_is_back_soon(server: Valkey) -> None:
    state = RedisState(Address.parse(f"{server.url}?timeout=20s"))
    await state.run(verbs.Incr(b"n"))
    server.kill()
    while state.readiness.is_up:
        await asyncio.sleep(0)
    asked = asyncio.ensure_future(state.run(verbs.Incr(b"n")))
    await asyncio.to_thread(server.start)
    assert await asked == 1  # it has forgotten the first
    assert state.readiness.is_up
    await state.close()


async def test_what_was_under_way_when_the_server_died_is_told_so(server: Valkey) -> None:
    state = RedisState(Address.parse(f"{server.url}?timeout=20s"))
    await state.run(verbs.Incr(b"n"))
    server.stop()
    asked = [asyncio.ensure_future(state.run(verbs.Incr(b"n"))) for _ in range(10)]
    await asyncio.sleep(0)
    server.kill()
    for one in asyncio.as_completed(asked):
        with pytest.raises(StateUnavailable, match="unknown"):
            await one
    await state.close()


async def test_a_half_open_connection_is_noticed_while_nobody_asks(server: Valkey) -> None:
    async with Proxy(server.path) as proxy:
        state = proxied(proxy, "?timeout=200ms")
        await state.run(verbs.Incr(b"n"))
        proxy.swallow()
        while state.readiness.is_up:  # the look comes after five times that
            await asyncio.sleep(0.05)
        proxy.pass_again()
        await until_up(state)
        assert await state.run(verbs.Incr(b"n")) == 2
        await state.close()


async def test_a_loop_that_was_held_up_blames_no_server(server: Valkey) -> None:
    state = RedisState(Address.parse(f"{server.url}?timeout=200ms"))
    await state.run(verbs.Incr(b"n"))
    asked = asyncio.ensure_future(state.run(verbs.Incr(b"n")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.5)
    assert await asked == 2
    assert state.counters()["redis_reconnects"] == 0
    await state.close()


async def test_an_oversized_reply_ends_the_connection_and_not_more(server: Valkey) -> None:
    small = RedisState(Address.parse(f"{server.url}?max_reply=64KiB"))
    large = RedisState(Address.parse(server.url))
    await large.run(verbs.Set(b"large", bytes(10 << 20)))
    with pytest.raises(StateUnavailable, match="max_reply"):
        await small.run(verbs.Get(b"large"))
    assert await small.run(verbs.Get(b"none")) is None
    await small.close()
    await large.close()


async def test_what_speaks_no_resp_is_given_up() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        state = RedisState(Address.parse(f"redis://127.0.0.1:{port}"))
        with pytest.raises(StateUnavailable, match="does not speak RESP"):
            await state.run(verbs.Get(b"k"))
        await state.close()


async def test_too_many_commands_are_refused(server: Valkey) -> None:
    state = RedisState(Address.parse(server.url))
    await state.run(verbs.Incr(b"n"))
    server.stop()
    asked = [asyncio.ensure_future(state.run(verbs.Incr(b"n"))) for _ in range(10_005)]
    await asyncio.wait(asked[-5:])
    for one in asked[-5:]:
        assert isinstance(one.exception(), StateBusy)
    server.go_on()
    await asyncio.gather(*asked[:-5], return_exceptions=True)
    await state.close()


async def test_a_password_is_asked_for_and_given(make_server: MakeServer) -> None:
    server = make_server("--requirepass", "p@ss")
    good = RedisState(Address.parse(f"unix://:p%40ss@{server.path}?db=3"))
    assert await good.run(verbs.Incr(b"n")) == 1
    for url in (f"unix://:wrong@{server.path}", server.url):
        bad = RedisState(Address.parse(url))
        with pytest.raises(StateUnavailable, match=r"WRONGPASS|NOAUTH"):
            await bad.run(verbs.Incr(b"n"))
        assert not bad.readiness.is_up
        await bad.close()
    other = RedisState(Address.parse(f"unix://:p%40ss@{server.path}"))
    assert await other.run(verbs.Get(b"n")) is None  # another database
    await other.close()
    await good.close()


async def test_tls_is_spoken_and_the_certificate_checked(server: Valkey, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Proxy(server.path, tls=context) as proxy:
        url = f"rediss://localhost:{proxy.port}"
        good = RedisState(Address.parse(f"{url}?ssl_ca_certs={tmp_path}/ca.pem"))
        assert await good.run(verbs.Incr(b"n")) == 1
        await good.close()
        bad = RedisState(Address.parse(url))
        with pytest.raises(StateUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await bad.run(verbs.Incr(b"n"))
        await bad.close()
    with pytest.raises(ConfigError, match=r"none\.pem"):
        RedisState(Address.parse(f"{url}?ssl_ca_certs={tmp_path}/none.pem"))


async def test_a_key_of_somebody_else_is_no_value(server: Valkey) -> None:
    mine = RedisState(Address.parse(server.url), prefix="a:")
    connection = mine._connection()
    await connection.call("SET", "a:s:k", "not ours")
    with pytest.raises(WrongType):
        await mine.run(verbs.Get(b"k"))
    await mine.close()


async def test_a_cluster_is_refused_by_name(make_server: MakeServer) -> None:
    server = make_server("--cluster-enabled", "yes", tcp=True)
    state = RedisState(Address.parse(server.url))
    with pytest.raises(StateError, match="Redis Cluster, which is not supported"):
        await state.run(verbs.Incr(b"n"))
    await state.close()


async def test_a_closed_engine_says_so(server: Valkey) -> None:
    state = RedisState(Address.parse(server.url))
    await state.run(verbs.Incr(b"n"))
    await state.close()
    with pytest.raises(StateUnavailable, match="closed"):
        await state.run(verbs.Incr(b"n"))
    assert not state.readiness.is_up


def test_without_hiredis_the_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hiredis'] = None\n"
        "from tercio.errors import ConfigError\n"
        "try: import tercio.engines.redis.state\n"
        "except ConfigError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "--redis: hiredis is not installed; pip install 'tercio[redis]'\n"


def test_a_fork_makes_connections_of_its_own(server: Valkey) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from tercio.engines.redis.state import RedisState\n"
        "from tercio.engines.redis.url import Address\n"
        "from tercio.state.verbs import Incr\n"
        "state = RedisState(Address.parse(sys.argv[1]))\n"
        "assert state.run_now(Incr(b'n')) == 1\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert state.run_now(Incr(b'child')) == 1\n"
        "    assert asyncio.run(state.run(Incr(b'child'))) == 2\n"
        "    os._exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert state.run_now(Incr(b'n')) == 2\n"
        "assert state.counters()['redis_reconnects'] == 0\n"
        "asyncio.run(state.close())\n"
    )
    quiet = ("-W", "error::ResourceWarning", "-W", "ignore::DeprecationWarning")  # of a fork
    command = [sys.executable, *quiet, "-c", code, server.url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
