"""Clients that hold connections: slow heads, slow bodies, unread responses, and too many connections at once."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from targcc_scheduler.cli.web_server import Limits, guarded

BIG = b"x" * 30_000_000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n"


async def app(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """ASGI app that reads the whole body and returns a big response on ``/big``."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    big = scope["path"] == "/big"
    await send({"type": "http.response.body", "body": BIG if big else b"fine"})


@contextlib.contextmanager
def serving(limits: Limits) -> Iterator[tuple[int, Callable[[], int]]]:
    """Run a server in a thread; yield its port and a function that counts the connections of slow clients."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, http=guarded(limits), lifespan="off", log_config=None, timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        try:
            yield listener.getsockname()[1], lambda: sum(
                bool(connection.transport.get_write_buffer_size())
                for connection in list(server.server_state.connections)
            )
        finally:
            server.should_exit = server.force_exit = True
            thread.join(30)


def heard_until_fine(connection: socket.socket) -> None:
    heard = b""
    while b"fine" not in heard:
        part = connection.recv(1_000)
        assert part, heard
        heard += part


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def is_ended_while_it_sends(connection: socket.socket, port: int, drip: bytes) -> bool:
    """Return whether the server closes a connection that drips bytes, while the server keeps answering other clients."""
    connection.setblocking(False)  # noqa: FBT003 - as sockets have it
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        until(lambda: answers(port))  # a local client can be slow on a busy machine
        try:
            connection.send(drip)
            if connection.recv(10) == b"":
                return True
        except BlockingIOError:
            pass
        except OSError:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begins", "drip"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a"),  # a head that never ends
        (b"", b"a"),  # an invalid start that never ends
        (HEAD + b"\r\n", b"b"),  # a body that never ends
        # the second request on a kept-alive connection
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: ", b"a"),
    ],
)
def test_a_request_that_does_not_end_is_ended_and_others_are_answered(begins: bytes, drip: bytes):
    limits = Limits(per_address=5, head=0.4, body=0.4, reading=30)
    with serving(limits) as (port, _), connect(port) as slow:
        slow.sendall(begins)
        if b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" in begins:
            heard_until_fine(slow)
        assert is_ended_while_it_sends(slow, port, drip)


@pytest.mark.slow
def test_an_answer_that_nobody_reads_is_given_up_and_a_slow_reader_is_not():
    limits = Limits(per_address=5, reading=1.5)
    with serving(limits) as (port, held), connect(port) as deaf, connect(port) as slow:
        for client in (deaf, slow):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = 0
        while part := slow.recv(200_000):
            got += len(part)
        assert got > len(BIG)
        until(lambda: answers(port) and not held())
        heard = 0
        with contextlib.suppress(ConnectionResetError):
            while part := deaf.recv(1_000_000):
                heard += len(part)
        assert heard < len(BIG)


def test_one_address_has_so_many_connections_and_a_proxy_any_number():
    with serving(Limits(per_address=3)) as (port, _), contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(4)]
        with contextlib.suppress(ConnectionResetError):
            assert held[3].recv(10) == b""
        held[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        heard_until_fine(held[0])
        held[1].close()
        until(lambda: answers(port))
    with (
        serving(Limits(per_address=1, proxies="127.0.0.0/8, nonsense")) as (port, _),
        connect(port),
    ):
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text == "fine"


@pytest.mark.slow
def test_of_too_many_that_wait_the_one_that_waits_longest_goes():
    with serving(Limits(per_address=90, waiting=3)) as (port, _), contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(4)]
        with contextlib.suppress(ConnectionResetError):
            assert held[0].recv(10) == b""
        assert answers(port)


def answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text == "fine"
    return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
