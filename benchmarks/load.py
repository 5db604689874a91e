"""A load of telemetry over MQTT: a publisher and a listener in processes of their own.

The publisher sends packets that were encoded before (many devices, 18 values
a message), a bounded number of them in flight; the listener counts the numbers
that devices are told are safe. Values lie in their measurement's range, and
samples in the last ten minutes, as those of a fleet that is connected do.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Final

import psutil

from models.measurements import of_class

__all__ = [
    "MOSQUITTO",
    "Load",
    "Loaded",
    "connect",
    "packet",
    "site_texts",
    "text",
    "values",
    "whole_packets",
]

MOSQUITTO: Final = "max_inflight_messages 10000\nset_tcp_nodelay true"
"""Without these Mosquitto gives a subscriber 20 messages at a time."""
WINDOW: Final = 2_000  # packets that the broker has not confirmed yet
SPAN_MS: Final = 600_000
SETTLE_S: Final = 5.0
"""What goes before is computed and stored meanwhile."""
_PUBACK_BYTES: Final = 4


def site_texts(devices: int, lateness_s: int = 900) -> dict[str, str]:
    """A site of `devices` substations in one unit."""
    rows = "".join(f"d{n:05},substation,load,10\n" for n in range(devices))
    return {
        "site.toml": (
            f'[site]\nid = "load"\nname = "load"\ntimezone = "Asia/Shanghai"\nlateness_s = {lateness_s}\n'
            '[[region]]\nid = "r"\nname = "r"\n[[unit]]\nid = "load"\nregion = "r"\nname = "load"\n'
        ),
        "devices.csv": f"device,class,unit,interval_s\n{rows}",
    }


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | 0x80 if n else digit)
        if not n:
            return bytes(out)


def text(value: bytes) -> bytes:
    """`value` with its length before it."""
    return struct.pack("!H", len(value)) + value


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT packet."""
    return bytes([kind]) + _length(len(body)) + body


def connect(port: int, client_id: bytes) -> socket.socket:
    """A connection to the broker on this machine."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(packet(0x10, text(b"MQTT") + bytes([4, 2]) + struct.pack("!H", 0) + text(client_id)))
    if sock.recv(4)[3] != 0:
        raise SystemExit("the broker refused the connection")
    return sock


def values(count: int = 997) -> list[str]:
    """JSON of 18 plausible values, in `count` variations."""
    random.seed(1)
    spans = []
    for m in of_class("substation"):
        low = 1.0 if m.low is None else max(m.low, 1.0)
        high = 100.0 if m.high is None else min(m.high, 100.0)
        spans.append((m.name, low, max(low, high)))
    return [
        ",".join(f'"{name}":{random.uniform(low, high):.2f}' for name, low, high in spans)
        for _ in range(count)
    ]


def telemetry(n: int, device: int, boot: int, seq: int, t: int, body: str) -> bytes:
    """The PUBLISH packet, at QoS 1, of one message."""
    topic = b"hearthline/v1/r/load/d%05d/telemetry" % device
    payload = f'{{"boot":{boot},"seq":{seq},"samples":[{{"t":{t},{body}}}]}}'
    return packet(0x32, text(topic) + struct.pack("!H", n % 65_535 + 1) + payload.encode())


def whole_packets(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """First byte and body of each whole packet of `data`, which are taken out of it."""
    at = 0
    while len(data) - at >= 2:
        size = shift = 0
        body = at + 1
        while body < len(data):
            size |= (data[body] & 0x7F) << shift
            shift += 7
            body += 1
            if not data[body - 1] & 0x80:
                break
        else:
            break
        if len(data) < body + size:
            break
        yield data[at], bytes(data[body : body + size])
        at = body + size
    del data[:at]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to.

    Attributes
    ----------
    messages : int
    seconds : float
        From the first packet to the last acknowledgement. [s]
    cpu_s : dict of str to float
        CPU seconds by process meanwhile. [s]
    latency_s : list of float
        Of each message, from when it was due to be sent until its device was told. [s]
    """

    messages: int
    seconds: float
    cpu_s: dict[str, float]
    latency_s: Sequence[float]

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def cpu_us(self, process: str) -> float:
        """CPU of a process for each message. [µs]"""
        return 1e6 * self.cpu_s[process] / self.messages

    @property
    def per_cpu_s(self) -> float:
        """Messages for each CPU second of all processes together."""
        return self.messages / sum(self.cpu_s.values())


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


class Load:
    """`messages` messages of `devices` devices.

    Parameters
    ----------
    port : int
        Of a broker on this machine.
    messages, devices : int
    rate : float
        Messages/s; 0 is as fast as the broker confirms them, 2,000 at a time.
    fresh : bool
        Whether each sample is of the moment at which it is due; else of the last ten minutes.
    before : int
        Messages of each device that are sent and acknowledged before, and not counted. Of a `fresh` load
        they are of its own pace until now.
    """

    def __init__(
        self,
        port: int,
        messages: int,
        devices: int,
        *,
        rate: float = 0.0,
        fresh: bool = False,
        before: int = 0,
    ) -> None:
        self.port, self.messages, self.devices, self.rate = port, messages, devices, rate
        self.fresh = fresh
        self.before = before * devices
        if fresh and not rate:
            msg = "expected a rate for messages that are made as they are sent"
            raise ValueError(msg)
        self.boot = int(time.time() * 1000) - SPAN_MS
        self.began: Synchronized[float] = multiprocessing.Value("d", 0.0)
        self.counted: Synchronized[int] = multiprocessing.Value("q", 0)
        self.last: Synchronized[float] = multiprocessing.Value("d", 0.0)
        self.told = multiprocessing.Array("d", messages if rate else 1, lock=False)

    def _built(self) -> list[bytes]:
        bodies, each = values(), -(-(self.before + self.messages) // self.devices)
        step = min(10_000, SPAN_MS // each)
        return [
            telemetry(
                n, n % self.devices, self.boot, n // self.devices + 1, self.boot + step * (n // self.devices),
                bodies[n % 997],
            )
            for n in range(self.before + self.messages)
        ]  # fmt: skip

    def _publish(self) -> None:
        """Send what goes before, wait until it is acknowledged, and send the rest."""
        built = [] if self.fresh else self._built()
        sock = connect(self.port, b"load")
        if self.before:
            for part in self._past() if self.fresh else [built[: self.before]]:
                self._send(sock, part, len(part))
            while self.counted.value < self.before:
                time.sleep(0.01)
            time.sleep(SETTLE_S)
        self.began.value = time.time()
        self._send(sock, built[self.before :], self.messages, self.rate)
        time.sleep(3600)  # its CPU seconds are read before it is killed

    def _past(self) -> Iterator[list[bytes]]:
        """What a fleet that keeps its own pace has sent until now, one message of each device at a time."""
        bodies, steps = values(), self.before // self.devices
        now, interval_s = time.time(), self.devices / self.rate
        for step in range(steps):
            t = int(1000 * (now - (steps - step) * interval_s))
            yield [
                telemetry(n, n, self.boot, step + 1, t + int(1000 * n / self.rate), bodies[n % 997])
                for n in range(self.devices)
            ]

    def _send(self, sock: socket.socket, built: list[bytes], messages: int, rate: float = 0.0) -> None:
        """Send, with at most WINDOW packets unconfirmed; what is not built is made as it is due."""
        bodies = values()
        confirmed = sent = answered = 0
        began = self.began.value
        while confirmed < messages:
            allowed = min(confirmed + WINDOW, messages)
            if rate:
                allowed = min(allowed, int((time.time() - began) * rate) + 1)
            if sent < allowed:
                stop = min(allowed, sent + 200)
                if not built:
                    part = [self._made(n, began, bodies) for n in range(sent, stop)]
                else:
                    part = built[sent:stop]
                sock.settimeout(None)
                sock.sendall(b"".join(part))
                sent = stop
                sock.settimeout(0.0)
            else:
                sock.settimeout(0.002 if rate else 0.005)
            try:
                while data := sock.recv(65_536):
                    answered += len(data)
                    confirmed = answered // _PUBACK_BYTES  # nothing else comes here
                    if len(data) < 65_536:
                        break
            except (BlockingIOError, TimeoutError):
                pass

    def _made(self, n: int, began: float, bodies: list[str]) -> bytes:
        t = int(1000 * (began + n / self.rate))
        seq = (self.before + n) // self.devices + 1
        return telemetry(n, n % self.devices, self.boot, seq, t, bodies[n % 997])

    def _hear(self) -> None:
        """Subscribe to every device's `ack` and count the numbers in it."""
        sock = connect(self.port, b"load-acks")
        sock.sendall(packet(0x82, struct.pack("!H", 1) + text(b"hearthline/v1/+/+/+/ack") + b"\0"))
        data = bytearray()
        while True:
            data += sock.recv(262_144)
            now = time.time()
            for first, body in whole_packets(data):
                if first & 0xF0 != 0x30:
                    continue
                size = struct.unpack_from("!H", body)[0]
                ack = json.loads(body[2 + size :])
                if ack["boot"] != self.boot:
                    continue
                for a, b in ack["ranges"]:
                    self.counted.value += b - a + 1
                    if self.rate:
                        device = int(body[2 : 2 + size].split(b"/")[4][1:])
                        for seq in range(a, b + 1):
                            n = (seq - 1) * self.devices + device - self.before
                            if n >= 0:
                                self.told[n] = now
                self.last.value = now

    def run(
        self, processes: dict[str, int], timeout_s: float = 300.0, *, listen: Callable[[], None] | None = None
    ) -> Loaded:
        """Load the broker until all is acknowledged.

        Parameters
        ----------
        processes : dict of str to int
            Process ids by name, whose CPU seconds are counted beside those of the load.
        timeout_s : float
        listen : callable
            Runs instead of the listener to acknowledgements, in a process of its own; sets `counted`
            and `last`.
        """
        hear = multiprocessing.Process(target=listen or self._hear, daemon=True)
        send = multiprocessing.Process(target=self._publish, daemon=True)
        hear.start()
        time.sleep(1.0)
        send.start()
        while not self.began.value:
            time.sleep(0.001)
        assert hear.pid is not None
        assert send.pid is not None
        pids = {**processes, "listener": hear.pid, "publisher": send.pid}
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        deadline = time.monotonic() + timeout_s
        while self.counted.value < self.before + self.messages and time.monotonic() < deadline:
            time.sleep(0.05)
        spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        for process in (send, hear):
            process.kill()
            process.join()
        if self.counted.value < self.before + self.messages:
            counted = self.counted.value - self.before
            raise SystemExit(f"expected {self.messages:,} acknowledged in {timeout_s:.0f} s, got {counted:,}")
        began = self.began.value
        latency = [told - began - n / self.rate for n, told in enumerate(self.told)] if self.rate else []
        return Loaded(self.messages, self.last.value - began, spent, latency)


def own_cpu_s() -> float:
    """CPU seconds of this process so far."""
    return cpu_s(os.getpid())
