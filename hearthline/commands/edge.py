"""`hearthline edge`: one collector process."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hearthline.cli import UsageError
from hearthline.stopping import stop_on_signals
from models.measurements import CLASSES, known

if TYPE_CHECKING:
    from edge.config import DeviceConfig, EdgeConfig
    from edge.driver import Reading

_HELP = """Read devices and send what they give to a broker, losing nothing.

Samples rest in an outbox on disk until the server has said that they are safe. The collector keeps
running while the broker is away; it ends by itself when every driver is at its end (recordings) and
the server has everything.

Example: hearthline edge --config collector.toml

\b
    [mqtt]
    url = "mqtt://127.0.0.1:1883"      # or mqtts:// with ca_file, cert_file, key_file
    [outbox]
    dir = "outbox"
    max_mb = 64
    [[device]]
    id = "meter-1"
    region = "r1"
    unit = "u1"
    class = "meter"
    interval_s = 3600
    driver = "csv"
    [device.csv]
    path = "meter.csv"
    time_column = "READ_DATE"
    time_format = "%Y-%m-%d %H:%M:%S"  # or iso, unix_s, unix_ms, seconds_from (with epoch)
    timezone = "Europe/Tallinn"
    pace = "real"                      # or "fast", or a factor
    [device.csv.columns]
    energy_gj = { column = "ENERGY", unit = "MWh" }
    flow_m3_h = { column = "FLOW", unit = "l/h" }
    supply_c = "FLOW_TEMP"

docs/edge.md wires up a heat meter, a weighbridge and a truck. With --simulate their configurations run
without any device: examples/edge/heat-meter.toml.

The password of the broker comes from HEARTHLINE_MQTT_PASSWORD or from mqtt.password_file.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(help=_HELP)
    def edge(
        config: Annotated[Path, typer.Option(help="The collector's TOML file.")],
        check: Annotated[
            bool, typer.Option("--check", help="Validate, read each driver once, reach the broker once.")
        ] = False,
        simulate: Annotated[
            bool, typer.Option("--simulate", help="Put a simulated device on loopback in each one's place.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        from edge.config import ConfigError, load
        from edge.outbox import OutboxError

        try:
            with _devices(simulate) as placed:
                settings = placed(load(config))
                settings.check_secrets()
                if check:
                    result = _check(settings, str(config))
                else:
                    result = _run(settings, str(config), lambda: placed(load(config)))
        except (ConfigError, OutboxError) as error:
            raise UsageError(error) from error
        if as_json:
            typer.echo(json.dumps(result))
        elif check:
            _show(result)
        else:
            typer.echo(_summary(result))
        if not result["ok"]:
            raise typer.Exit(1)


@contextmanager
def _devices(simulated: bool) -> Iterator[Callable[[EdgeConfig], EdgeConfig]]:
    """Give what a configuration becomes: itself, or one whose devices are simulated until the end."""
    started: list[Any] = []

    def placed(config: EdgeConfig) -> EdgeConfig:
        if not simulated:
            return config
        from edge.simulators import simulate

        moved, peers = simulate(config)
        started.extend(peers)
        return moved

    try:
        yield placed
    finally:
        for peer in started:
            peer.close()


def _run(config: EdgeConfig, where: str, read: Callable[[], EdgeConfig]) -> dict[str, Any]:
    from edge.run import run

    stop, again = stop_on_signals(), threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: again.set())
    result = run(config, where=where, stop=stop, read_again=read, asked=again)
    # A damaged record is left behind for good: whoever runs this in a script has to hear of it.
    damaged = any(kind.startswith(("record ", "refused ")) for kind in result["complaints"])
    return {"ok": not damaged, **result}


def _check(config: EdgeConfig, where: str) -> dict[str, Any]:
    from edge.driver import DriverError, Recording
    from edge.live import Live
    from edge.network import reach
    from edge.run import make_drivers, wall_ms

    devices: dict[str, dict[str, Any]] = {}
    for device, driver in make_drivers(config, where):
        try:
            fast = isinstance(driver, Recording) and driver.fast
            readings = driver.read(2**62 if fast else wall_ms())
            first = readings[0] if readings else None
            now = driver.glance() if isinstance(driver, Live) else ""
            devices[device.id] = {
                "ok": True,
                "readings": len(readings),
                "first": {"t": first.t_ms, **first.values} if first else None,
                **({"now": now} if now else {}),
            }
            if strange := _strange(device, readings):
                devices[device.id]["warnings"] = strange
            if unmet := _unmet(device, readings):
                devices[device.id] = {"ok": False, "error": unmet}
        except DriverError as error:
            devices[device.id] = {"ok": False, "error": str(error)}
        finally:
            driver.close()
    trouble = reach(config.mqtt, device=config.device[0].id)
    broker = {"url": config.mqtt.url, "ok": trouble is None, **({"error": trouble} if trouble else {})}
    full = _no_room(config.outbox.dir)
    outbox = {"dir": str(config.outbox.dir), "ok": not full, **({"error": full} if full else {})}
    return {
        "ok": trouble is None and not full and all(d["ok"] for d in devices.values()),
        "devices": devices,
        "broker": broker,
        "outbox": outbox,
    }


def _no_room(place: Path) -> str:
    """Why nothing can be kept in the outbox's directory; empty if it can. Nothing is left there."""
    try:
        there = next(p for p in (place, *place.parents) if p.exists())
        with TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"outbox: dir: expected a writable directory, got {place}: {error.strerror}"


def _strange(device: DeviceConfig, readings: Sequence[Reading]) -> list[str]:
    """What the server will compute nothing of: names that are misspelt, or of another class of device."""
    mine = CLASSES.get(device.device_class)
    if mine is None:
        return [f"class: expected one of {', '.join(CLASSES)}, got {device.device_class!r}"]
    came = dict.fromkeys(name for reading in readings for name in reading.values)
    strange = [name for name in came if name not in mine]
    refused = len(strange) == len(came) and any(name in known for name in strange)
    so = (
        "the server will refuse every message"
        if refused
        else "the server will keep it and use it for nothing"
    )
    return [
        f"{name}: expected a measurement of class {device.device_class}"
        f"{''.join(f' (perhaps {near})' for near in get_close_matches(name, mine, n=1))}: {so}"
        for name in strange
    ]


def _unmet(device: DeviceConfig, readings: Sequence[Reading]) -> str:
    """What is said of dead bands for measurements that the device does not give; empty if it gives all."""
    came = {name for reading in readings for name in reading.values}
    unmet = sorted(set(device.report.dead_band) - came) if device.report is not None and came else []
    if not unmet:
        return ""
    return f"report.dead_band: expected measurements of {', '.join(sorted(came))}, got {', '.join(unmet)}"


def _show(result: dict[str, Any]) -> None:
    broker, outbox = result["broker"], result["outbox"]
    if not outbox["ok"]:
        print(outbox["error"], file=sys.stderr)  # noqa: T201
    typer.echo(f"broker {broker['url']}: {'reached' if broker['ok'] else broker['error']}")
    for name, device in result["devices"].items():
        if not device["ok"]:
            print(f"{name}: {device['error']}", file=sys.stderr)  # noqa: T201
        else:
            now = f"; {device['now']}" if "now" in device else ""
            first = json.dumps(device["first"], ensure_ascii=False)
            typer.echo(f"{name}: {device['readings']} readings, the first: {first}{now}")
        for warning in device.get("warnings", ()):
            print(f"warning: {name}: {warning}", file=sys.stderr)  # noqa: T201


def _summary(result: dict[str, Any]) -> str:
    """How a run ended, in one line."""
    devices = result["devices"].values()
    sent = sum(device["next_seq"] - 1 for device in devices)
    waiting = sum(last - first + 1 for device in devices for first, last in device["waiting"])
    rest = f"{waiting:,} wait in the outbox" if waiting else "all of them safe at the server"
    return f"ended: {len(result['devices'])} devices, {sent:,} messages, {rest}"
