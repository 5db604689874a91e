"""Millions of simulated messages, fast: for benchmarks, without the physics of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.site import Site
from simulator import water
from simulator.rng import generator
from simulator.telemetry import MESSAGE_SCHEMA
from simulator.unit import demo_plan, texts
from simulator.weather import Weather

__all__ = ["bulk_parquet"]

Array = NDArray[np.float64]

_CHUNK: Final = 50_000
_START_MS: Final = 1_768_003_200_000


class _Columns:
    """Plausible readings of many substations; counters are integrals of the flows and powers given."""

    def __init__(self, site: Site, seed: int, start_ms: int, interval_s: float) -> None:
        rng = generator(seed, "bulk")
        subs = [d for d in site.devices.values() if d.device_class == "substation"]
        count = len(subs)
        self.seed, self.start_ms, self.interval_s = seed, start_ms, interval_s
        self.weather = Weather(seed)
        self.load_kw_k = np.array([d.area_m2 or 0.0 for d in subs]) * 0.0012 * rng.uniform(0.9, 1.1, count)
        self.phase = rng.uniform(0.0, 2.0 * np.pi, count)
        self.secondary = rng.uniform(60.0, 200.0, count)
        self.energy_gj = rng.uniform(1e4, 5e4, count)
        self.volume_m3 = self.energy_gj / 0.25
        self.makeup_m3 = rng.uniform(50.0, 400.0, count)

    def take(self, first: int, steps: int) -> Mapping[str, Array]:
        """Measurements by name, each of shape (steps, substations)."""
        count = len(self.load_kw_k)
        t_ms = self.start_ms + (first + 1 + np.arange(steps)) * self.interval_s * 1000.0
        noise = generator(self.seed, "bulk noise", first).standard_normal((6, steps, count))
        outdoor = self.weather.outdoor_c(t_ms)[:, None]
        wave = np.sin(t_ms[:, None] / 86_400_000.0 * 2.0 * np.pi + self.phase)
        heat = self.load_kw_k * (20.0 - outdoor) * (1.0 + 0.12 * wave + 0.01 * noise[0])
        supply = 75.0 + (5.0 - outdoor) * 1.4 + 0.2 * noise[1]
        back = 44.0 + 2.0 * wave + 0.1 * noise[2]
        drop_kj_kg = water.enthalpy_kj_kg(supply) - water.enthalpy_kj_kg(back)
        flow = heat / (drop_kj_kg * water.density_kg_m3(back)) * 3600.0
        hours = self.interval_s / 3600.0
        energy = self.energy_gj + np.cumsum(heat, axis=0) * self.interval_s * 1e-6
        volume = self.volume_m3 + np.cumsum(flow, axis=0) * hours
        makeup = self.makeup_m3 + np.cumsum(
            np.broadcast_to(self.secondary * 0.002 * hours, flow.shape), axis=0
        )
        self.energy_gj, self.volume_m3, self.makeup_m3 = energy[-1], volume[-1], makeup[-1]
        hot = 44.0 - 0.9 * outdoor + 0.1 * noise[3]
        full = np.ones_like(flow)
        return {
            "supply_c": supply.round(2) * full, "return_c": back.round(2), "flow_m3_h": flow.round(3),
            "heat_kw": heat.round(1), "energy_gj": np.floor(energy * 1000.0) / 1000.0,
            "volume_m3": np.floor(volume * 100.0) / 100.0, "supply_kpa": (560.0 + noise[4]).round(1),
            "return_kpa": (320.0 + noise[5]).round(1), "valve_pct": (45.0 + 10.0 * wave + noise[0]).round(1),
            "secondary_supply_c": hot.round(2), "secondary_return_c": (hot - 12.0 + 0.1 * noise[2]).round(2),
            "secondary_flow_m3_h": (self.secondary * (1.0 + 0.005 * noise[4])).round(2),
            "secondary_supply_kpa": (400.0 + 0.5 * noise[1]).round(1),
            "secondary_return_kpa": (280.0 + 0.5 * noise[3]).round(1),
            "secondary_makeup_m3": np.floor(makeup * 100.0) / 100.0,
            "secondary_setpoint_c": (44.0 - 0.9 * outdoor).round(1) * full,
            "pump_hz": (41.0 + 0.02 * noise[5]).round(2), "outdoor_c": (outdoor + 0.3 * noise[2]).round(1),
        }  # fmt: skip


def bulk_parquet(
    path: Path, devices: int, messages: int, interval_s: float, seed: int, *, start_ms: int = _START_MS
) -> Path:
    """Write `messages` one-sample messages of 18 values, of `devices` substations in turn.

    Returns
    -------
    Path
        The site directory that belongs to them, written beside the file as ``<name>.site``.
    """
    site = demo_plan(seed, devices, 0, start_ms, interval_s=interval_s)
    folder = path.with_suffix(".site")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts(site).items():
        (folder / name).write_text(text, encoding="utf-8")
    columns = _Columns(site, seed, start_ms, interval_s)
    subs = [d for d in site.devices.values() if d.device_class == "substation"]
    topics = pa.array([f"hearthline/v1/{site.region_of(d)}/{d.unit}/{d.device}/telemetry" for d in subs])
    steps_a_chunk = max(1, _CHUNK // devices)
    with pq.ParquetWriter(path, MESSAGE_SCHEMA, compression="zstd") as writer:
        for first in range(0, -(-messages // devices), steps_a_chunk):
            steps = min(steps_a_chunk, -(-messages // devices) - first)
            table = _table(columns, topics, first, steps, devices)
            writer.write_table(table.slice(0, messages - first * devices))
    return folder


def _table(columns: _Columns, topics: pa.Array, first: int, steps: int, devices: int) -> pa.Table:
    values = columns.take(first, steps)
    seq = np.repeat(first + 1 + np.arange(steps, dtype=np.int64), devices)
    interval_ms = round(columns.interval_s * 1000)
    t_ms = columns.start_ms + seq * interval_ms
    # Devices are polled in turn, and the line takes a fifth of a second.
    offset = np.tile(np.arange(devices, dtype=np.int64) * (interval_ms // 2) // max(devices, 1), steps)
    parts = [f'{{"boot":{columns.start_ms},"seq":', pa.array(seq).cast(pa.string())]
    parts += [',"samples":[{"t":', pa.array(t_ms).cast(pa.string())]
    for name, block in values.items():
        parts += [f',"{name}":', pa.array(block.ravel()).cast(pa.string())]
    payload = pc.binary_join_element_wise(*parts, "}]}", "")
    topic = topics.take(pa.array(np.tile(np.arange(devices), steps)))
    return pa.Table.from_arrays([topic, payload, pa.array(t_ms + offset + 200)], schema=MESSAGE_SCHEMA)
