"""Run a case: telemetry, the site it belongs to, and the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge.driver import Reading
from simulator.case import KINDS, Case
from simulator.faults import Faults
from simulator.fleet import UnitReadings
from simulator.telemetry import messages, write
from simulator.truth import NetworkTruth, Snapshot
from simulator.unit import texts

__all__ = ["Done", "run"]

TELEMETRY: Final = "telemetry.parquet"
_CLOSES: Final = 1e-6
"""What a balance may miss, of what passed the plant in a step."""


@dataclass(slots=True)
class Done:
    """What a run gave.

    Attributes
    ----------
    messages, steps : int
    energy_error, mass_error : float
        The largest that a step's balance missed, over what passed the plant.
    """

    messages: int = 0
    steps: int = 0
    energy_error: float = 0.0
    mass_error: float = 0.0

    @property
    def closes(self) -> bool:
        """Whether mass and energy closed to 1e-6 at every step."""
        return max(self.energy_error, self.mass_error) <= _CLOSES


@dataclass(slots=True)
class _Truths:
    """Rows of the truth files as they come."""

    networks: list[dict[str, Any]] = field(default_factory=list)
    devices: list[pa.Table] = field(default_factory=list)
    weighings: list[dict[str, Any]] = field(default_factory=list)

    def take(self, truth: NetworkTruth, snap: Snapshot) -> None:
        b, s = snap.balance, snap.seconds
        self.networks.append({
            "t": snap.t_ms, "network": truth.network.id, "seconds": s, "outdoor_c": snap.outdoor_c,
            "supplied_kj": b.supplied_kj, "delivered_kj": float(b.delivered_kj.sum()), "lost_kj": b.lost_kj,
            "stored_kj": b.stored_kj, "leaked_kj": b.leaked_kj, "given_kg": b.given_kg,
            "stored_kg": b.stored_kg, "leaked_kg": b.leaked_kg, "makeup_kg": truth.plant.makeup_kg,
            "tank_kg": truth.plant.tank_kg,
            "fuel_kg": truth.plant.fuel_kg, "energy_error_kj": b.energy_error_kj,
            "mass_error_kg": b.mass_error_kg,
        })  # fmt: skip
        names = [truth.plant_device.device, *(d.device for d in truth.devices)]
        heat_kw = np.append(b.supplied_kj, b.delivered_kj) / s
        columns = {
            "t": np.full(len(names), snap.t_ms), "device": names, "flow_kg_s": snap.flow_kg_s,
            "supply_c": snap.supply_c, "return_c": snap.return_c, "supply_kpa": snap.supply_kpa,
            "return_kpa": snap.return_kpa, "heat_kw": heat_kw,
            "indoor_c": np.append(np.nan, truth.substations.indoor_c),
        }  # fmt: skip
        self.devices.append(pa.table(columns))


class _Watched(UnitReadings):
    """Readings of a unit whose truth is written down."""

    def __init__(self, case: Case, done: Done, truths: _Truths, progress: Callable[[float], None]) -> None:
        super().__init__(
            case.site, case.seed, case.start_ms, interval_s=case.interval_s, faults=Faults(case.faults)
        )
        self._case, self._done, self._truths, self._progress = case, done, truths, progress

    def step(self) -> list[tuple[str, Reading]]:
        rows = super().step()
        for heat in self.heat:
            snap = heat.last
            if snap is None:
                continue
            self._truths.take(heat.truth, snap)
            b = snap.balance
            self._done.energy_error = max(self._done.energy_error, abs(b.energy_error_kj) / b.throughput_kj)
            self._done.mass_error = max(self._done.mass_error, abs(b.mass_error_kg) / b.throughput_kg)
        for w in self.weighings:
            self._truths.weighings.append(
                {"t": w.t_ms, "bridge": w.bridge, **w.values, "true_kg": w.true_kg, "coal_kg": w.coal_kg}
            )
        self._done.steps += 1
        self._progress((self.now_ms - self._case.start_ms) / (self._case.hours * 3_600_000))
        return rows


def run(case: Case, out: Path, *, progress: Callable[[float], None] = lambda _: None) -> Done:
    """Run `case` into the directory `out`.

    Writes ``telemetry.parquet`` (what `replay` reads), ``site/``, and the truth:
    ``truth_network.parquet`` and ``truth_device.parquet`` a row a step,
    ``truth_weighing.parquet``, ``truth_faults.json``.

    Parameters
    ----------
    progress : callable
        Told the share that is done, 0 to 1.
    """
    (out / "site").mkdir(parents=True, exist_ok=True)
    for name, text in (case.site.texts or texts(case.site)).items():
        (out / "site" / name).write_text(text, encoding="utf-8")
    done, truths = Done(), _Truths()
    readings = _Watched(case, done, truths, progress)
    rows = messages(case.seed, case.start_ms, case.hours, readings=readings, **asdict(case.road))
    done.messages = write(out / TELEMETRY, rows)
    pq.write_table(pa.Table.from_pylist(truths.networks), out / "truth_network.parquet", compression="zstd")
    if truths.devices:
        pq.write_table(pa.concat_tables(truths.devices), out / "truth_device.parquet", compression="zstd")
    if truths.weighings:
        pq.write_table(
            pa.Table.from_pylist(truths.weighings), out / "truth_weighing.parquet", compression="zstd"
        )
    faults = [{**asdict(f), "deadline_h": KINDS[f.kind].deadline_h} for f in case.faults]
    truth = {"seed": case.seed, "start_ms": case.start_ms, "hours": case.hours, "faults": faults}
    (out / "truth_faults.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return done
