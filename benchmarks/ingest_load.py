"""Messages/s of ingest alone, from MQTT at QoS 1 until acknowledged: ``python -m benchmarks ingest_load``.

Mosquitto passes a load to ingest in this process, which journals it (SQLite,
fsync) and tells the devices; nothing is computed or stored behind the journal.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.load import Load, Loaded, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto
from hearthline.threads import share_fairly
from ingest.clock import wall_clock
from ingest.endpoint import Endpoint
from ingest.service import Ingest
from journal.sqlite import SqliteJournal
from models.site_files import parse_site


def measure(messages: int, devices: int, rate: float) -> tuple[Loaded, int]:
    """The load, and the bytes of the journal."""
    share_fairly()
    with mosquitto() as broker, tempfile.TemporaryDirectory() as directory:
        assert broker.process is not None
        journal = SqliteJournal(Path(directory) / "journal.sqlite3", wall_clock)
        site = parse_site(site_texts(devices))[0]
        ingest = Ingest(journal, site, Endpoint("127.0.0.1", broker.port), wall_clock)
        ingest.start()
        while not (ingest.ready and ingest.status.state == "ok"):
            time.sleep(0.1)
        load = Load(broker.port, messages, devices, rate=rate)
        loaded = load.run({"broker": broker.process.pid, "server": os.getpid()})
        ingest.stop()
        if ingest.status.samples < messages:
            raise SystemExit(f"expected {messages} samples in the journal, got {ingest.status}")
        journal.close()
        return loaded, sum(f.stat().st_size for f in Path(directory).iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=3_000)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="messages/s; 0 is as fast as they are confirmed"
    )
    options = parser.parse_args()
    print(f"machine: {machine()}")
    loaded, size = measure(options.messages, options.devices, options.rate)
    print(
        f"ingest: {options.messages:,} messages of 18 values from {options.devices:,} devices in "
        f"{loaded.seconds:.1f} s until acknowledged: {loaded.rate:,.0f} messages/s; "
        f"{loaded.cpu_us('server'):.0f} µs of CPU and {size / options.messages:.0f} B of journal a message"
    )


if __name__ == "__main__":
    main()
