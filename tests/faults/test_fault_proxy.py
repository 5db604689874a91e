"""Each fault of the proxy is what it says, on plain sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import CLEAR, FaultProxy, Faults
from tests.support.mosquitto import free_port
from tests.support.waiting import PATIENCE_S, until

SHORT_S = 0.3


class Echo:
    """A server that answers with what it hears, and remembers all of it."""

    def __init__(self) -> None:
        self.heard = b""
        self.ends: list[str] = []
        self.pieces: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while data := sock.recv(65_536):
                    self.heard += data
                    self.pieces.append(len(data))
                    sock.sendall(data)
                self.ends.append("end")
            except ConnectionResetError:
                self.ends.append("reset")

    def close(self) -> None:
        """Take nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)  # or its thread might take who calls the next test's
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as sock:
        ask(sock, b"hello")  # it stands from end to end
        yield sock


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def answer(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(65_536)):
        data += more
    return data


def ask(sock: socket.socket, data: bytes) -> float:
    """Send and see the same come back; how long that took. [s]"""
    began = time.monotonic()
    threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
    assert answer(sock, len(data)) == data
    return time.monotonic() - began


def asked_for(sock: socket.socket, data: bytes, least_s: float, below_s: float) -> None:
    """See that it takes no less than `least_s`, and less than `below_s` once the machine lets it."""

    def quick() -> bool:
        took_s = ask(sock, data)
        assert took_s >= least_s
        return took_s < below_s

    until(quick, f"{len(data)} bytes take less than {below_s} s")


def silent(sock: socket.socket) -> bool:
    sock.settimeout(SHORT_S)
    try:
        return sock.recv(1) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE_S)


def test_clear_passes_everything_and_both_ends(proxy, echo, client):
    big = bytes(range(256)) * 4096
    ask(client, big)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    until(lambda: echo.ends == ["end"], "the server hears the end", every=0.01)
    until(lambda: proxy.standing == 0, "the proxy forgets it", every=0.01)
    assert echo.heard == b"hello" + big
    assert (proxy.connections, proxy.up_bytes, proxy.down_bytes) == (1, len(big) + 5, len(big) + 5)


def test_latency_delays_each_way_and_no_more_for_much(proxy, client):
    asked_for(client, b"x", 0.0, 0.1)
    proxy.switch(Faults(latency_s=0.1))
    asked_for(client, b"x", 0.2, 0.4)
    asked_for(client, b"x" * 2_000_000, 0.2, 1.0)  # chunks wait side by side


def test_throttle_passes_bytes_at_its_rate(proxy, client):
    proxy.switch(Faults(bytes_per_s=20_000))
    asked_for(client, b"x" * 10_000, 0.45, 2.0)
    proxy.switch(CLEAR)
    asked_for(client, b"x" * 10_000, 0.0, 0.4)


def test_slices_are_writes_of_one_byte(proxy, echo, client):
    sent = bytes(range(200))
    ask(client, b"y" * 200)
    assert max(echo.pieces) == 200
    proxy.switch(Faults(slice_bytes=1, bytes_per_s=1000))

    def one_by_one() -> bool:
        echo.pieces.clear()
        ask(client, sent)
        assert echo.heard.endswith(sent)
        return len(echo.pieces) > 50

    # A server that is not let run for some ms finds several bytes at once; 200 written together are one piece.
    until(one_by_one, "the server reads most bytes for themselves")


def test_a_blackhole_holds_everything_and_tells_nobody(proxy, echo, client):
    proxy.switch(Faults(blackhole=True))
    client.sendall(b"held")
    with connect(proxy) as newcomer:
        newcomer.sendall(b"also")
        assert silent(client)
        assert silent(newcomer)
        assert echo.heard == b"hello"
        proxy.switch(CLEAR)
        assert answer(client, 4) == b"held"
        assert answer(newcomer, 4) == b"also"
    assert echo.ends in ([], ["end"])


@pytest.mark.parametrize("gone", ["client", "server"])
def test_half_open_tells_only_the_end_that_vanished(proxy, echo, client, gone):
    assert proxy.half_open(gone) == 1
    if gone == "server":
        until(lambda: echo.ends == ["reset"], "the server's end is reset", every=0.01)
        client.sendall(b"into the void")
        assert silent(client)
        until(lambda: proxy.lost_bytes == 13, "what the client says is swallowed", every=0.01)
        assert echo.heard == b"hello"
    else:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        time.sleep(SHORT_S)
        assert echo.ends == [], "expected the server to keep what nobody uses"
        assert proxy.standing == 1
    with connect(proxy) as newcomer:
        ask(newcomer, b"a new connection is not touched")


@pytest.mark.parametrize("first", ["client", "server"])
def test_both_ends_may_vanish_one_after_the_other(proxy, echo, client, first):
    second = "client" if first == "server" else "server"
    assert [proxy.half_open(gone) for gone in (first, first, second, second)] == [1, 1, 1, 0]
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: echo.ends == ["reset"], "the server's end is reset", every=0.01)
    with connect(proxy) as newcomer:
        ask(newcomer, b"a new connection is not touched")


def test_reset_reaches_both_ends(proxy, echo, client):
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: echo.ends == ["reset"], "the server's end is reset", every=0.01)
    assert proxy.standing == 0
    with connect(proxy) as newcomer:
        ask(newcomer, b"back")


def test_cut_after_so_many_bytes_of_old_and_new_connections(proxy, echo, client):
    proxy.cut_after(7)
    for sock in (client, connect(proxy)):
        with sock:
            sock.sendall(b"0123456789")
            with pytest.raises(ConnectionResetError):
                answer(sock, 10)
    until(lambda: len(echo.ends) == 2, "both are cut", every=0.01)
    assert echo.heard == b"hello" + 2 * b"0123456"
    proxy.cut_after(None)
    with connect(proxy) as newcomer:
        ask(newcomer, b"0123456789")


def test_dropped_replies_lose_only_replies_and_end_with_a_reset(proxy, echo, client):
    proxy.switch(Faults(drop_replies=True))
    client.sendall(b"stored")
    until(lambda: echo.heard == b"hellostored", "the server has it", every=0.01)
    until(lambda: proxy.lost_bytes == 6, "its answer is lost", every=0.01)
    assert silent(client)
    proxy.switch(CLEAR)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_refuse_turns_newcomers_away_alone(proxy, client):
    proxy.switch(Faults(refuse=True))
    ask(client, b"stays")
    with pytest.raises(ConnectionResetError), connect(proxy) as newcomer:
        newcomer.recv(1)
    assert (proxy.connections, proxy.standing) == (2, 1)


def test_a_server_that_is_away_resets_the_client():
    with FaultProxy(free_port()) as proxy:
        with pytest.raises(ConnectionResetError), connect(proxy) as newcomer:
            newcomer.recv(1)
        until(lambda: proxy.standing == 0, "it is forgotten", every=0.01)
