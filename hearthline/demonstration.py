"""The whole system on this machine with a simulated unit, run for people to look at."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from edge.config import MqttConfig
from edge.run import Fleet
from hearthline.alerting import load_rules
from hearthline.cli import UsageError
from hearthline.client import ServerClient, ServerError
from hearthline.health import ledger_totals
from hearthline.server import JOURNAL_FILE, Server, ServerConfig
from hearthline.site_dir import read_site
from hearthline.stopping import stop_on_signals
from ingest.clock import SimulatedClock, wall_clock
from journal.sqlite import SqliteJournal
from simulator.coal import CoalReadings
from simulator.demo_case import demo_case
from simulator.fleet import SimulatedUnit
from store.protocol import Select

__all__ = ["Demo", "demonstrate"]

_SEED: Final = 1
_SETTLE_S: Final = 20.0
_LONG_AGO_MS: Final = 3_600_000  # a longer past takes a noticeable time to simulate again
_SLICE_MS: Final = 300_000  # between two looks at whether to stop: a fraction of a second's work
_SAY_EVERY_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo is to do.

    Attributes
    ----------
    data_dir : Path
    seconds : float or None
        How long; None until Ctrl-C. [s]
    speed : float
        Simulated seconds a second.
    port : int
    as_json : bool
    began : float
        `time.monotonic` at the start of the program.
    """

    data_dir: Path
    seconds: float | None
    speed: float
    port: int
    as_json: bool
    began: float


def demonstrate(demo: Demo) -> None:
    """Run the demo until its time is up or Ctrl-C, then print a summary."""
    logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s")
    stop = stop_on_signals()
    say: Callable[[str], None] = (lambda text: typer.echo(text, err=True)) if demo.as_json else typer.echo
    try:
        start_ms, clock, goes_on, earlier = _clock(demo)
        case = demo_case(_SEED, start_ms, earlier=earlier)
        unit = SimulatedUnit(case.seed, case.start_ms, readings=CoalReadings(case), end_ms=case.end_ms)
        site_dir = _write_site(unit, demo.data_dir)
    except OSError as error:
        raise UsageError(
            f"data-dir: expected a writable directory, got {demo.data_dir}: {error.strerror}"
        ) from error
    site = read_site(site_dir)
    server = Server(
        ServerConfig(
            demo.data_dir,
            site,
            clock,
            broker=0,
            port=demo.port,
            simulated=True,
            rules=load_rules(site_dir, site),
        )
    )
    fleet: Fleet | None = None
    first_data_s: float | None = None
    try:
        server.start()
        deadline = None if demo.seconds is None else demo.began + demo.seconds
        # What a demo that begins has to tell first is told: its clock has run since the server was started.
        if not goes_on or _caught_up(unit, start_ms, clock, _Until(stop, deadline), say):
            fleet = _fleet(unit, server, clock, demo)
            fleet.start()
            say(
                f"SIMULATED unit of {len(unit.devices())} devices at {demo.speed:g} times real time; "
                "Ctrl-C stops"
            )
            say(f"live board: {server.board.url}")
            first_data_s = _first_data(server, stop, demo)
            if first_data_s is not None:
                say(f"first data on the board after {first_data_s:.1f} s")
            stop.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            stopping, fleet = fleet, None
            stopping.stop()
            _settle(server)
        board = {"url": server.board.url, "first_data_s": first_data_s, "answering": _answers(server)}
        server.drain()
        _print(_summary(server, board, demo), demo)
    finally:
        if fleet is not None:
            fleet.stop()
        server.close()


@dataclass(frozen=True, slots=True)
class _Until:
    """When to end: as soon as `stop` is set, or at `deadline` by `time.monotonic`, if there is one."""

    stop: threading.Event
    deadline: float | None = None

    @property
    def over(self) -> bool:
        """Whether it is time."""
        return self.stop.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)


def _caught_up(
    unit: SimulatedUnit, start_ms: int, clock: SimulatedClock, until: _Until, say: Callable[[str], None]
) -> bool:
    """Simulate what an earlier demo did, so that counters go on; False when it is to end before that."""
    past_ms = clock() - start_ms
    hours = f"{past_ms / 3_600_000:.0f}"
    if past_ms > _LONG_AGO_MS:
        say(f"going on with the demo: simulating its {hours} hours again; Ctrl-C stops")
    first = unit.devices()[0].id  # reading one simulates all of them
    at_ms, said_s = start_ms, time.monotonic()
    while at_ms < clock() - _SLICE_MS:
        if until.over:
            say("stopped before its hours were simulated again: the next demo there begins with that")
            return False
        at_ms += _SLICE_MS
        unit.read(first, at_ms)
        if time.monotonic() - said_s > _SAY_EVERY_S:
            said_s = time.monotonic()
            say(f"simulated {(at_ms - start_ms) / 3_600_000:.1f} of {hours} hours")
    for device in unit.devices():
        unit.read(device.id, clock())
    return True


def _fleet(unit: SimulatedUnit, server: Server, clock: SimulatedClock, demo: Demo) -> Fleet:
    return Fleet(
        unit.fleet(), MqttConfig(url=server.mqtt_url), demo.data_dir / "edge",
        clock=clock, speed=demo.speed, say=lambda _line: None,
    )  # fmt: skip


def _clock(demo: Demo) -> tuple[int, SimulatedClock, bool, bool]:
    """Where the simulated unit began, a clock that goes on where an earlier demo stopped, and if it does.

    And whether its month's papers come first: a demo that was begun without them has another world.
    """
    told = demo.data_dir / "demo.json"
    journal = demo.data_dir / JOURNAL_FILE
    now = wall_clock()
    if told.exists() and journal.exists():
        said = json.loads(told.read_text(encoding="utf-8"))
        start_ms = int(said["start_ms"])
        kept = SqliteJournal(journal, wall_clock, mends=False)
        newest = max((ms for _, ms in kept.streams().values()), default=start_ms)
        kept.close()
        return start_ms, SimulatedClock(max(newest, start_ms), demo.speed), True, bool(said.get("earlier"))
    demo.data_dir.mkdir(parents=True, exist_ok=True)
    told.write_text(json.dumps({"start_ms": now, "earlier": True}), encoding="utf-8")
    return now, SimulatedClock(now, demo.speed), False, True


def _write_site(unit: SimulatedUnit, data_dir: Path) -> Path:
    site_dir = data_dir / "site"
    site_dir.mkdir(parents=True, exist_ok=True)
    for name, text in unit.texts.items():
        (site_dir / name).write_text(text, encoding="utf-8")
    return site_dir


def _first_data(server: Server, stop: threading.Event, demo: Demo) -> float | None:
    """Seconds from the program's start until the board gives a first value; None when stopped before."""
    client = ServerClient(server.board.url)
    while not stop.is_set():
        try:
            if client.query(Select("reading", fields=("heat_kw",), limit=1)).num_rows:
                return round(time.monotonic() - demo.began, 2)
        except ServerError as error:
            logging.getLogger(__name__).debug("board: %s", error)
        if demo.seconds is not None and time.monotonic() > demo.began + demo.seconds:
            return None
        stop.wait(0.1)
    return None


def _settle(server: Server) -> None:
    """Wait until all that the collectors sent is journalled and computed."""
    until = time.monotonic() + _SETTLE_S
    while time.monotonic() < until and not server.idle():
        time.sleep(0.1)


def _answers(server: Server) -> bool:
    try:
        return bool(ServerClient(server.board.url).status())
    except ServerError:
        return False


def _summary(server: Server, board: dict[str, Any], demo: Demo) -> dict[str, Any]:
    return {
        "simulated": True,
        "seconds": round(time.monotonic() - demo.began, 1),
        "ledger": ledger_totals(server.store),
        "rows": server.store.counts(),
        "devices": {
            "device_heat": len(set(server.store.select(Select("device_heat")).column("key").to_pylist()))
        },
        "board": board,
    }


def _print(summary: dict[str, Any], demo: Demo) -> None:
    if demo.as_json:
        typer.echo(json.dumps(summary))
        return
    ledger = summary["ledger"]
    typer.echo(f"SIMULATED, {summary['seconds']} s")
    typer.echo(
        f"  messages sent {ledger['sent']:,}, stored {ledger['stored']:,}, "
        f"unaccounted {ledger['unaccounted']:,}"
    )
    for measurement, rows in sorted(summary["rows"].items()):
        typer.echo(f"  {measurement:<16} {rows:>10,} rows")
    typer.echo(f"  kept in {demo.data_dir}: the next demo there goes on from here")
