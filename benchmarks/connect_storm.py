"""Five hundred collectors come: ``python -m benchmarks.connect_storm [mosquitto|embedded] [--within 0]``.

They come within half a minute, as collectors do that lost their broker, or all at one instant.

Every device has a certificate of `hearthline pki`; the broker is Mosquitto with the generated
configuration, or the one inside the server at its door. Collectors run in a few processes, each device with
a connection of its own and a sample every 10 s, all of them at the same instant. Measured: until all are
connected, until the journal has the birth of each (by the times of its records), and how long a sample
waits for its acknowledgement, from when the collector first sends it to the server's `ack`, the storm
included, and the server's processor time, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.collector_memory import cpu_s
from benchmarks.load import site_texts
from benchmarks.machine import machine
from benchmarks.outage import Now
from benchmarks.running import Server, started

GOAL_S, GOAL_P99_S = 30.0, 1.0
PROCESSES = 4
INTERVAL_S = 10.0


def collect(
    names: list[str], url: str, pki: Path, directory: Path, within_s: float, go: Any, stop: Any, said: Any
) -> None:
    """Be the collectors of some devices; says when all are connected, then how long each sample waited."""
    from edge.config import DeviceConfig, MqttConfig
    from edge.network import Link
    from edge.run import Fleet

    sent: dict[tuple[str, int], float] = {}
    waited: list[tuple[float, float]] = []  # when it was sent, how long it waited; monotonic [s]

    class Timed(Fleet):
        def _take_ack(self, outbox: Any, ack: Any) -> None:
            now_s = time.monotonic()
            for first, last in ack.ranges:
                keys = [(outbox.device, seq) for seq in range(first, last + 1)]
                since = [sent.pop(key) for key in keys if key in sent]
                waited.extend((at_s, now_s - at_s) for at_s in since)
            super()._take_ack(outbox, ack)

    plain = Link.publish

    def timed(self: Link, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        taken = plain(self, topic, payload, retain=retain)
        if taken and topic.endswith("/telemetry"):
            seq = int(payload[payload.index(b'"seq":') + 6 :].split(b",", 1)[0])
            sent.setdefault((self.peer.name, seq), time.monotonic())
        return taken

    Link.publish = timed  # type: ignore[method-assign]
    links: list[Link] = []
    made = Link.__init__

    def noted(self: Link, *args: Any) -> None:
        made(self, *args)
        links.append(self)

    Link.__init__ = noted  # type: ignore[method-assign,assignment]
    devices = [
        DeviceConfig.model_validate(
            {"id": n, "region": "r", "unit": "load", "class": "substation", "interval_s": INTERVAL_S}
        )
        for n in names
    ]
    mqtt = MqttConfig(
        url=url,
        ca_file=pki / "servers-ca.pem",
        cert_file=pki / "devices" / "{device}.pem",
        key_file=pki / "devices" / "{device}.key",
    )
    fleet = Timed([(device, Now()) for device in devices], mqtt, directory, say=lambda _line: None)
    done = threading.Event()
    go.wait()
    chance, now_s = random.Random(names[0]), time.monotonic()
    for link in links:
        link._next_try_s = now_s + chance.uniform(0.0, within_s)  # noqa: SLF001  as if it had failed before

    def end_when_told() -> None:
        stop.wait()
        done.set()

    threading.Thread(target=end_when_told, daemon=True).start()
    running = threading.Thread(target=fleet.run, args=(done,))
    running.start()
    while fleet.connected < len(names) and not done.is_set():
        time.sleep(0.05)
    said.put(("connected", time.time()))
    running.join()
    said.put(("waited", waited, len(sent)))


def births(data: Path) -> dict[str, int]:
    """When the first birth of each device was journalled. [ms UTC]"""
    from ingest.clock import wall_clock
    from journal.sqlite import SqliteJournal
    from models.frame import Frame, FrameKind

    journal, offset = SqliteJournal(data / "journal.sqlite3", wall_clock), -1
    found: dict[str, int] = {}
    while records := journal.read("load", offset, 10_000):
        for record in records:
            frame = Frame.decode(record.frame)
            if frame.kind is FrameKind.EVENT:
                for row in frame.batch.to_pylist():
                    if row["kind"] == "birth":
                        found.setdefault(row["device"], record.timestamp_ms)
        offset = records[-1].offset
    journal.close()
    return found


def prepare(root: Path, devices: int) -> tuple[Path, Path, list[str]]:
    """A site and its certificates."""
    from hearthline.pki import Pki

    site, names = root / "site", [f"d{n:05}" for n in range(devices)]
    site.mkdir()
    for file, content in site_texts(devices).items():
        (site / file).write_text(content)
    pki = Pki(root / "pki", lambda: datetime.now(UTC))
    pki.init(["localhost", "127.0.0.1"], 2)
    for name in names:
        pki.issue(name, 2)
    return site, pki.directory, names


def serve(stack: ExitStack, broker: str, root: Path, site: Path, pki: Path) -> tuple[Server, str]:
    """Broker and server; where devices connect."""
    from hearthline.site_dir import open_site
    from tests.support.door import gate
    from tests.support.mosquitto import free_port

    if broker == "mosquitto":
        opened = stack.enter_context(gate("mosquitto", root, pki, the_site=open_site(site)))
        for name, file in (("CA", "servers-ca.pem"), ("CERT", "ingest.pem"), ("KEY", "ingest.key")):
            os.environ[f"HEARTHLINE_MQTT_{name}_FILE"] = str(pki / file)
        server = started(site, root / "served", "--mqtt", str(opened.endpoint))
        return server, f"mqtts://127.0.0.1:{opened.port}"
    port = free_port()
    os.environ["HEARTHLINE_DOOR_PORT"] = str(port)
    return started(site, root / "served", "--mqtt-port", "0", "--pki", str(pki)), f"mqtts://127.0.0.1:{port}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("broker", nargs="?", choices=["mosquitto", "embedded"], default="mosquitto")
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument(
        "--within", type=float, default=GOAL_S - 1.0, help="they come at random instants of so many seconds"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long it goes on once all are connected"
    )
    options = parser.parse_args()
    print(f"machine: {machine()}")
    context = multiprocessing.get_context("spawn")
    go, stop, said = context.Event(), context.Event(), context.Queue()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        site, pki, names = prepare(root, options.devices)
        server, url = serve(stack, options.broker, root, site, pki)
        processes = [
            context.Process(
                target=collect,
                args=(names[n::PROCESSES], url, pki, root / f"edge-{n}", options.within, go, stop, said),
            )
            for n in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        time.sleep(5.0)  # until they have loaded what they need
        began, used_s = time.time(), cpu_s(server.process.pid)
        go.set()
        connected_s = max(said.get(timeout=300)[1] for _ in processes) - began
        in_s = time.monotonic()
        used_s = cpu_s(server.process.pid) - used_s
        time.sleep(options.seconds)
        stop.set()
        told = [said.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        ledger = server.get("/api/status")["ledger"]
        server.process.terminate()
        server.process.wait(60)
        born = births(root / "served")
    sent_s, waited = np.array([pair for _, part, _ in told for pair in part]).T
    p99_s, born_s = float(np.quantile(waited, 0.99)), max(born.values()) / 1000 - began
    print(f"machine at the end: {machine()}")
    print(
        f"{options.devices} collectors that come within {options.within:g} s, {options.broker}: "
        f"all connected after {connected_s:.1f} s"
    )
    print(f"the server's processor time until then: {used_s:.1f} s")
    print(f"births journalled: {len(born)}, the last after {born_s:.1f} s; goal {GOAL_S:.0f} s")
    left = sum(n for *_, n in told)
    print(
        f"{len(waited)} samples acknowledged, {left} not at the end: median "
        f"{np.median(waited):.3f} s, p99 {p99_s:.3f} s, longest {waited.max():.3f} s; goal {GOAL_P99_S:g} s"
    )
    for when, part in (("while they came", sent_s < in_s), ("all at one instant, later", sent_s >= in_s)):
        if part.any():
            print(f"  sent {when}: {part.sum()}, p99 {np.quantile(waited[part], 0.99):.3f} s")
    print(f"ledger: {json.dumps(ledger)}")
    met = max(connected_s, born_s) < GOAL_S and p99_s < GOAL_P99_S and len(born) == options.devices
    print("met" if met else "MISSED")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
