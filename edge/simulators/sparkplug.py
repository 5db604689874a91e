"""Edge nodes that speak Sparkplug B, with a broker of their own; they need the server's extra for it."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge.config import DeviceConfig
from edge.live import need
from edge.simulators.peer import plausible
from edge.units import conversion

__all__ = ["EdgeNode", "metric", "payload", "start"]

DOUBLE, BOOLEAN, INT64 = 10, 11, 4


def _varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def _field(number: int, value: float | bytes | bool) -> bytes:
    """One field: whole numbers as they are, bytes with their length, reals as doubles."""
    if isinstance(value, bytes):
        return _varint(number * 8 + 2) + _varint(len(value)) + value
    if isinstance(value, float):
        return _varint(number * 8 + 1) + struct.pack("<d", value)
    return _varint(number * 8) + _varint(int(value))


def metric(
    name: str | None = None,
    alias: int | None = None,
    t_ms: int | None = None,
    datatype: int | None = None,
    value: float | bool | None = None,
    *,
    historical: bool = False,
) -> bytes:
    """One metric of a payload; a value of None is null."""
    parts = [
        b"" if name is None else _field(1, name.encode()),
        b"" if alias is None else _field(2, alias),
        b"" if t_ms is None else _field(3, t_ms),
        b"" if datatype is None else _field(4, datatype),
        _field(5, True) if historical else b"",
        _field(7, True) if value is None else b"",
    ]
    if isinstance(value, bool):
        parts.append(_field(14, value))
    elif isinstance(value, float):
        parts.append(_field(13, value))
    elif value is not None:
        parts.append(_field(11, value % 2**64))
    return _field(2, b"".join(parts))


def payload(t_ms: int, seq: int | None, *metrics: bytes) -> bytes:
    """One payload; a node's death has no sequence number."""
    return _field(1, t_ms) + b"".join(metrics) + (b"" if seq is None else _field(3, seq))


class EdgeNode:
    """One edge node with the devices behind it, as a client of a broker.

    Parameters
    ----------
    host, port : str, int
        The broker.
    group, node : str
        Names in the topics.
    show : mapping
        For each device (None: the node itself) its metrics: name to a function of the time in seconds.
    """

    def __init__(self, host: str, port: int, group: str, node: str, show: Mapping[str | None, Any]):
        self._show = show
        self._at = f"spBv1.0/{group}/{{}}/{node}"
        self._lock = threading.RLock()
        self.seq = 0
        self.births = 0
        paho = need("paho.mqtt.client", "paho-mqtt", "sparkplug")
        version = need("paho.mqtt.enums", "paho-mqtt", "sparkplug").CallbackAPIVersion.VERSION2
        self._client = paho.Client(version, client_id=f"node-{node}")
        death = payload(0, None, metric("bdSeq", None, 0, INT64, 0))
        self._client.will_set(self._at.format("NDEATH"), death, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._at.format("NCMD"), 1)
        self._client.on_subscribe = lambda *_: self.bear()
        self._client.on_message = lambda *_: self.bear()
        self._client.connect_async(host, port)
        self._client.loop_start()

    def publish(self, kind: str, device: str | None, *metrics: bytes, seq: int | None = None) -> None:
        """Publish under the next sequence number, or a wrong one."""
        with self._lock:
            topic = self._at.format(kind) + (f"/{device}" if device else "")
            number = self.seq if seq is None else seq
            self._client.publish(topic, payload(int(time.time() * 1000), number, *metrics), 0)
            self.seq = (number + 1) % 256

    def aliases(self) -> dict[tuple[str | None, str], int]:
        """Alias of each metric."""
        names = [(device, name) for device, metrics in self._show.items() for name in metrics]
        return {name: number for number, name in enumerate(names, 100)}

    def bear(self) -> None:
        """Introduce the node and its devices."""
        with self._lock:
            self.births += 1
            self.seq = 0
            now_s, alias = time.time(), self.aliases()

            def born(device: str | None) -> list[bytes]:
                shown = self._show.get(device, {})
                t_ms = int(now_s * 1000)
                return [metric(n, alias[device, n], t_ms, DOUBLE, float(f(now_s))) for n, f in shown.items()]

            own = [
                metric("bdSeq", None, 0, INT64, 0),
                metric("Node Control/Rebirth", None, 0, BOOLEAN, False),
            ]
            self.publish("NBIRTH", None, *own, *born(None))
            for device in self._show:
                if device is not None:
                    self.publish("DBIRTH", device, *born(device))

    def report(self) -> None:
        """Publish every metric by its alias."""
        now_s, alias = time.time(), self.aliases()
        for device, metrics in self._show.items():
            t_ms = int(now_s * 1000)
            data = [metric(None, alias[device, n], t_ms, None, float(f(now_s))) for n, f in metrics.items()]
            if data:
                self.publish("DDATA" if device else "NDATA", device, *data)

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()


class _Broker:
    """amqtt in a thread."""

    def __init__(self) -> None:
        self._amqtt = need("amqtt.broker", "amqtt", "server")
        logging.getLogger("amqtt").setLevel(logging.ERROR)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker", daemon=True)
        self._thread.start()
        self.port: int = self._run(self._start())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _start(self) -> int:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
        self._broker = self._amqtt.Broker({"listeners": listeners, "plugins": plugins})
        await self._broker.start()
        server = self._broker._servers["default"].instance  # noqa: SLF001  it does not say which port it got
        port: int = server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        self._run(self._broker.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()


class Nodes:
    """A broker and the edge nodes at it, which report each second."""

    def __init__(self, devices: Sequence[DeviceConfig]):
        self._broker = _Broker()
        self.at: dict[str, Any] = {"broker": f"mqtt://127.0.0.1:{self._broker.port}"}
        shown: dict[tuple[str, str], dict[str | None, Any]] = {}
        for device in devices:
            o = device.options
            shown.setdefault((o["group"], o["node"]), {})[o.get("device")] = {
                spec["metric"]: _raw(name, spec) for name, spec in o["metrics"].items()
            }
        self._nodes = [EdgeNode("127.0.0.1", self._broker.port, *at, show) for at, show in shown.items()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge nodes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            for node in self._nodes:
                if node.births:
                    node.report()

    def close(self) -> None:
        """Leave, and end the broker."""
        self._stop.set()
        self._thread.join(5.0)
        for node in self._nodes:
            node.close()
        self._broker.close()


def _raw(measurement: str, spec: dict[str, Any]) -> Any:
    into = conversion(measurement, spec.get("unit"))

    def show(unix_s: float) -> float:
        value = (plausible(measurement, unix_s) - into.addend) / into.factor
        return float((value - spec.get("offset", 0.0)) / spec.get("scale", 1.0))

    return show


def start(devices: Sequence[DeviceConfig]) -> Nodes:
    """Play all nodes of one broker."""
    return Nodes(devices)
