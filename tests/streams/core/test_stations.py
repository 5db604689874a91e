"""Weather stations that belong to no network tell of the outdoor temperature of their unit's networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.site import Device, Network, Region, Site, Unit
from streams.core.containing import Failures
from streams.core.network_rows import STEP_MS, NetworkRows, Source
from streams.core.operator import network_operator
from streams.core.row_engine import RowEngine
from streams.core.stream_site import StreamSite
from streams.core.tables import network_table
from streams.core.window_state import FINAL, PROVISIONAL, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.weather import weather

HOUR_MS = 3_600_000
IDS = ("plant-1", "sub-1", "sub-2", "far-1", "air", "air-2")


def registry(own: str | None = None) -> StreamSite:
    """Two networks of a unit, one of another; stations of the unit, and maybe one of a network."""

    def device(name: str, kind: str, network: str | None, unit: str = "u") -> Device:
        return Device(name, kind, unit, "s", network, interval_s=3600.0 if name == "air" else 60.0)

    devices = [
        device("plant-1", "plant", "n1"), device("sub-1", "substation", "n1"),
        device("sub-2", "substation", "n2"), device("far-1", "substation", "n3", "v"),
        device("air", "weather", None), device("air-2", "weather", own),
    ]  # fmt: skip
    networks = {n: Network(n, u, "", window_s=3600) for n, u in (("n1", "u"), ("n2", "u"), ("n3", "v"))}
    site = Site(
        "", "", "UTC", regions={"r": Region("r", "")}, networks=networks,
        units={u: Unit(u, "r", "") for u in ("u", "v")}, devices={d.device: d for d in devices},
    )  # fmt: skip
    return StreamSite(site, list(IDS), {})


def names(site: StreamSite, index: np.ndarray) -> list[str]:
    return [site.ids[n] for n in index.tolist()]


def test_a_networks_own_stations_come_before_those_of_its_unit():
    site = registry(own="n1")
    assert names(site, site.stations(site.site.networks["n1"])) == ["air-2"]
    assert names(site, site.stations(site.site.networks["n2"])) == ["air"]
    assert names(site, site.stations(site.site.networks["n3"])) == []


def test_a_lone_station_concerns_every_network_of_its_unit_and_no_other():
    site = registry()
    assert site.concerned(np.array([4])) == {"n1", "n2"}
    assert site.concerned(np.array([1])) == {"n1"}
    assert site.concerned(np.array([1, 3])) == {"n1", "n3"}
    changed = RowEngine("s", (weather,), (), (), provisional=True, failures=Failures()).changed(
        weather, 0, np.array([4]), site
    )
    assert changed == {"weather": {("n1", 0), ("n2", 0)}}


def rows_of(values: dict[str, float], status: int, fields: tuple[str, ...]) -> WindowState:
    state = WindowState(len(fields))
    at = np.array([IDS.index(name) for name in values])
    told = np.full((len(fields), len(at)), np.nan)
    told[0] = list(values.values())
    n = len(at)
    state.remember(at, told, np.ones(n), np.full(n, status), np.full(n, "", object), np.zeros(n, np.int64))
    return state


def network_rows(site: StreamSite, outdoor: dict[int, dict[str, float]]) -> NetworkRows:
    states = {start: rows_of(values, FINAL, weather.fields) for start, values in outdoor.items()}
    return NetworkRows(
        site.site.networks["n1"], 0, HOUR_MS, 2 * HOUR_MS, 0, np.array([0, 1]), site,
        {"weather": Source(weather.fields, "device", states)},
    )  # fmt: skip


def test_outdoor_temperature_is_the_stations_mean_and_else_the_plants():
    said = {
        HOUR_MS: {"air": -6.0, "air-2": -8.0, "plant-1": 30.0},
        HOUR_MS + STEP_MS: {"air": np.nan, "plant-1": -5.0},
        HOUR_MS + 2 * STEP_MS: {"sub-1": -9.0},
    }
    got = network_rows(registry(), said).outdoor_c()
    assert got == pytest.approx([-7.0, -5.0, np.nan, np.nan], nan_ok=True)
    assert network_rows(registry(own="n1"), said).outdoor_c()[0] == -8.0


@dataclass
class Told:
    warmth: Any
    coverage: Any
    reason: Any
    model: str = ""


@network_operator(reads=("device_heat", "weather"), writes=Told)
def told(rows: NetworkRows) -> Told:
    return Told(np.nansum(rows.outdoor_c()), 1.0, "", "signature/1")


def test_a_networks_window_waits_for_the_stations_of_its_unit():
    site = registry()
    heat = {("device_heat", s): rows_of({"sub-1": 1.0}, FINAL, device_heat.fields)
            for s in range(0, HOUR_MS, STEP_MS)}  # fmt: skip
    engine = RowEngine("s", (device_heat, weather), (told,), (), provisional=True, failures=Failures())

    def at(now_ms: int, status: int):
        states = heat | {
            ("weather", s): rows_of({"air": -6.0}, status, weather.fields) for s in range(0, HOUR_MS, STEP_MS)
        }
        return engine.follow({"weather": {("n1", 0)}}, now_ms, site, states, lambda *_: True, ended_ms=now_ms)

    (first,) = at(HOUR_MS + 1, PROVISIONAL)
    assert first.rows.status.tolist() == [PROVISIONAL]
    assert first.rows.values.tolist() == [[-24.0]]
    slow = int(site.lateness_ms[IDS.index("air")])
    assert slow > int(site.lateness_ms[:2].max())
    assert at(HOUR_MS + slow - 1, FINAL) == [], "the station may still speak"
    (last,) = at(HOUR_MS + slow, FINAL)
    assert last.rows.status.tolist() == [FINAL]
    table = network_table(last, "s")
    assert table["model"].to_pylist() == ["signature/1"]
    assert "model" not in told.fields
