"""Mosquitto, ingest, Kafka, a worker and InfluxDB beside `up`: ``python -m benchmarks worker_chain``.

The same load at QoS 1, from the same publisher through a broker of the same kind: first into `hearthline up`
(DuckDB), then into `hearthline ingest` with a worker behind it, everything on this machine. Timed until
devices have their last acknowledgement, and until the last sample is stored (under a checkpoint, made
every 2 s).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.load import Load, Loaded, cpu_s, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running
from benchmarks.workers import TOPIC, Workers, influxd_in, kafka_in, register, until
from tests.support.system import Program, write_site

_VALUES: Final = 18


def embedded(messages: int, devices: int) -> tuple[Loaded, float]:
    """The load of the embedded server, and seconds from the first packet until all is stored."""
    with mosquitto() as broker, running(site_texts(devices), broker) as up:
        assert broker.process is not None
        load = Load(broker.port, messages, devices)
        loaded = load.run({"broker": broker.process.pid, "server": up.process.pid})
        up.wait_for_readings(messages)
        return loaded, time.time() - load.began.value


def chain(messages: int, devices: int) -> tuple[Loaded, float, dict[str, float]]:
    """The same for the chain, and CPU of each part until all is stored. [µs a message]"""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = write_site(home / "site", site_texts(devices))
        broker = stack.enter_context(mosquitto())
        assert broker.process is not None
        kafka = kafka_in(home, stack, append_time=True)
        influxd, words = influxd_in(home, stack)
        ingest = stack.enter_context(
            Program(
                home / "ingest", "ingest", "--site", site, "--mqtt", broker.url, "--kafka", kafka.bootstrap
            )
        )
        until(lambda: "ok:" in ingest.out)
        workers = Workers(home, kafka, "chain", clock="wall")
        stack.callback(workers.kill)
        workers.start("w", *words)
        register(kafka, site)
        workers.ready()
        workers.done()
        pids = {
            "broker": broker.process.pid, "ingest": ingest.process.pid, "kafka": kafka.pid,
            "worker": workers.programs[0].process.pid, "influxd": influxd.pid,
        }  # fmt: skip
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        load = Load(broker.port, messages, devices)
        loaded = load.run(pids)
        workers.done()
        stored_s = time.time() - load.began.value
        spent = {name: 1e6 * (cpu_s(pid) - before[name]) / messages for name, pid in pids.items()}
        rows = stored(influxd.url, home)
        if rows < messages:
            raise SystemExit(f"expected {messages:,} readings in InfluxDB, got {rows:,}; {kafka.ends(TOPIC)}")
        return loaded, stored_s, spent


def stored(url: str, home: Path) -> int:
    """How many readings InfluxDB holds."""
    from hearthline.commands.worker import open_influx
    from hearthline.settings import load_settings

    store = open_influx(load_settings({"influx_url": url}, home / "c.toml"))
    try:
        return store.counts().get("reading", 0)
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--devices", type=int, default=3_000)
    options = parser.parse_args()
    print(f"machine: {machine()}", flush=True)
    one, one_s = embedded(options.messages, options.devices)
    tell("embedded, DuckDB", one, one_s)
    other, other_s, spent = chain(options.messages, options.devices)
    tell("Mosquitto, ingest, Kafka, a worker, InfluxDB", other, other_s)
    parts = ", ".join(f"{name} {each:.1f}" for name, each in spent.items())
    print(f"  µs of CPU a message until all is stored: {parts}; together {sum(spent.values()):.1f}")
    print(f"of the embedded mode: {other.rate / one.rate:.2f} acknowledged, {one_s / other_s:.2f} stored")


def tell(what: str, loaded: Loaded, stored_s: float) -> None:
    """One line."""
    rate = loaded.messages / stored_s
    print(
        f"{what}: {loaded.messages:,} messages of {_VALUES} values, {loaded.rate:,.0f} messages/s"
        f" acknowledged; all stored after {stored_s:.1f} s: {rate:,.0f} messages/s,"
        f" {_VALUES * rate:,.0f} values/s",
        flush=True,
    )


if __name__ == "__main__":
    main()
