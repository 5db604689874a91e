"""Messages/s from MQTT at QoS 1 until acknowledged: ``python -m benchmarks.ingest_load --messages 200000``.

A publisher in a process of its own sends packets that were encoded before
(many devices, 18 values a message), a bounded number of them in flight;
Mosquitto passes them to ingest, which journals them (SQLite, fsync) and then
tells the devices. What counts is the time from the first packet to the
moment at which the last number has been acknowledged to its device.

With ``--server mqtt://host:port`` it loads a server that runs already, on
the site that ``--write-site DIR`` writes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import socket
import struct
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from models.measurements import of_class

GOAL = 10_000
WINDOW = 2_000  # packets that the broker has not confirmed yet


def site_texts(devices: int) -> dict[str, str]:
    """A site of `devices` substations in one unit."""
    rows = "".join(f"d{n:05},substation,load,10\n" for n in range(devices))
    return {
        "site.toml": (
            '[site]\nid = "load"\nname = "load"\ntimezone = "Asia/Shanghai"\n'
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


def _text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _length(len(body)) + body


def _connect(host: str, port: int, client_id: bytes) -> socket.socket:
    sock = socket.create_connection((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_packet(0x10, _text(b"MQTT") + bytes([4, 2]) + struct.pack("!H", 0) + _text(client_id)))
    if sock.recv(4)[3] != 0:
        raise SystemExit("the broker refused the connection")
    return sock


def packets(messages: int, devices: int, boot: int) -> list[bytes]:
    """PUBLISH packets at QoS 1; each device's seq counts from 1."""
    names = [m.name for m in of_class("substation")]
    random.seed(1)
    values = [",".join(f'"{n}":{random.uniform(1, 100):.2f}' for n in names) for _ in range(997)]
    built = []
    for n in range(messages):
        topic = b"hearthline/v1/r/load/d%05d/telemetry" % (n % devices)
        t = boot + 10_000 * (n // devices)
        payload = f'{{"boot":{boot},"seq":{n // devices + 1},"samples":[{{"t":{t},{values[n % 997]}}}]}}'
        built.append(_packet(0x32, _text(topic) + struct.pack("!H", n % 65_535 + 1) + payload.encode()))
    return built


def publish(host: str, port: int, built: list[bytes], rate: float, began: Synchronized[float]) -> None:
    """Send `built`, at most `rate` a second, with at most WINDOW unconfirmed."""
    sock = _connect(host, port, b"load")
    confirmed = sent = 0
    began.value = time.monotonic()
    sock.setblocking(True)
    while confirmed < len(built):
        allowed = min(confirmed + WINDOW, len(built))
        if rate:
            allowed = min(allowed, int((time.monotonic() - began.value) * rate) + 1)
        if sent < allowed:
            stop = min(allowed, sent + 200)
            sock.sendall(b"".join(built[sent:stop]))
            sent = stop
            sock.settimeout(0.0)
        else:
            sock.settimeout(0.005)
        try:
            while data := sock.recv(65_536):
                confirmed += data.count(
                    b"\x40\x02"
                )  # fair: a number that looks like it is rare and only early
                if len(data) < 65_536:
                    break
        except (BlockingIOError, TimeoutError):
            pass
        if sent == len(built) and confirmed >= len(built) - len(built) // 1000:
            time.sleep(1)
            return


def count_acks(
    host: str, port: int, boot: int, counted: Synchronized[int], last: Synchronized[float]
) -> None:
    """Subscribe to every device's `ack` and count the numbers in it."""
    sock = _connect(host, port, b"load-acks")
    sock.sendall(_packet(0x82, struct.pack("!H", 1) + _text(b"hearthline/v1/+/+/+/ack") + b"\0"))
    data = bytearray()
    while True:
        data += sock.recv(262_144)
        at = 0
        while len(data) - at >= 5:
            size = shift = 0
            body = at + 1
            while True:
                size |= (data[body] & 0x7F) << shift
                shift += 7
                body += 1
                if not data[body - 1] & 0x80:
                    break
            if len(data) < body + size:
                break
            if data[at] & 0xF0 == 0x30:
                skip = body + 2 + struct.unpack_from("!H", data, body)[0]
                ack = json.loads(data[skip : body + size])
                if ack["boot"] == boot:
                    counted.value += sum(b - a + 1 for a, b in ack["ranges"])
                    last.value = time.monotonic()
            at = body + size
        del data[:at]


def measure(host: str, port: int, messages: int, devices: int, rate: float, timeout_s: float) -> float:
    """Seconds from the first packet to the last acknowledgement."""
    boot = int(time.time() * 1000) - 3_600_000 - 10_000 * (messages // devices)
    built = packets(messages, devices, boot)
    began = multiprocessing.Value("d", 0.0)
    counted, last = multiprocessing.Value("q", 0), multiprocessing.Value("d", 0.0)
    hear = multiprocessing.Process(target=count_acks, args=(host, port, boot, counted, last), daemon=True)
    send = multiprocessing.Process(target=publish, args=(host, port, built, rate, began), daemon=True)
    hear.start()
    time.sleep(1)
    send.start()
    deadline = time.monotonic() + timeout_s
    while counted.value < messages and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in (send, hear):
        process.kill()
        process.join()
    if counted.value < messages:
        raise SystemExit(f"expected {messages:,} acknowledged in {timeout_s:.0f} s, got {counted.value:,}")
    return last.value - began.value


def machine() -> str:
    """Cores and processor of this machine."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")  # fmt: skip
    return f"{os.cpu_count()} cores, {model}"


def _own(messages: int, devices: int, rate: float, timeout_s: float) -> tuple[float, float, int]:
    """Start Mosquitto and ingest here; seconds, CPU seconds of ingest, bytes of the journal."""
    from ingest.clock import wall_clock
    from ingest.endpoint import Endpoint
    from ingest.service import Ingest
    from journal.sqlite import SqliteJournal
    from models.site_files import parse_site
    from tests.support.mosquitto import Mosquitto

    # Without these Mosquitto gives a subscriber 20 messages at a time.
    extra = ""
    with Mosquitto(extra) as broker, tempfile.TemporaryDirectory() as directory:
        journal = SqliteJournal(Path(directory) / "journal.sqlite3", wall_clock)
        ingest = Ingest(
            journal, parse_site(site_texts(devices))[0], Endpoint("127.0.0.1", broker.port), wall_clock
        )
        ingest.start()
        while not (ingest.ready and ingest.status.state == "ok"):
            time.sleep(0.1)
        before = psutil.Process().cpu_times()
        seconds = measure("127.0.0.1", broker.port, messages, devices, rate, timeout_s)
        after = psutil.Process().cpu_times()
        ingest.stop()
        if ingest.status.samples < messages:
            raise SystemExit(f"expected {messages} samples in the journal, got {ingest.status}")
        journal.close()
        size = sum(f.stat().st_size for f in Path(directory).iterdir())
    return seconds, after.user + after.system - before.user - before.system, size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=3_000)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="messages/s; 0 is as fast as they are confirmed"
    )
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--server", help="broker of a server that runs already, mqtt://host:port")
    parser.add_argument("--write-site", type=Path, help="write the site that the load is for, and end")
    options = parser.parse_args()
    if options.write_site:
        options.write_site.mkdir(parents=True, exist_ok=True)
        for name, text in site_texts(options.devices).items():
            (options.write_site / name).write_text(text)
        return
    print(machine())
    if options.server:
        url = urlsplit(options.server)
        seconds = measure(
            url.hostname or "127.0.0.1", url.port or 1883, options.messages, options.devices, options.rate,
            options.timeout,
        )  # fmt: skip
        more = ""
    else:
        seconds, cpu, size = _own(options.messages, options.devices, options.rate, options.timeout)
        each, kept = 1e6 * cpu / options.messages, size / options.messages
        more = f"; ingest {each:.0f} µs of CPU and {kept:.0f} B of journal a message"
    speed = options.messages / seconds
    verdict = "reached" if speed >= GOAL else "missed"
    what = f"{options.messages:,} messages of 18 values from {options.devices:,} devices"
    print(f"{what} in {seconds:.1f} s until acknowledged")
    print(f"{speed:,.0f} messages/s (goal {GOAL:,} {verdict}){more}")


if __name__ == "__main__":
    main()
