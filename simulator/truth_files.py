"""The truth of a run, written beside its telemetry as it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.case import Case
from simulator.faults import Faults
from simulator.fleet import UnitReadings
from simulator.kinds import DRAINING, KINDS
from simulator.logistics.truth_files import wrong_row
from simulator.telemetered import HeatTelemetry
from simulator.truth import Snapshot

__all__ = ["CLOSES", "Closure", "TruthFiles"]

CLOSES: Final = 1e-6
"""What a balance may miss, of what passed the plant in a step."""
_ROWS: Final = 50_000


@dataclass(slots=True)
class Closure:
    """How well the balances of a run close.

    Attributes
    ----------
    energy_error, mass_error : float
        The largest that a step's balance missed, over what passed the plant.
    """

    steps: int = 0
    energy_error: float = 0.0
    mass_error: float = 0.0

    @property
    def closes(self) -> bool:
        """Whether mass and energy closed to 1e-6 at every step."""
        return max(self.energy_error, self.mass_error) <= CLOSES

    def take(self, snap: Snapshot) -> None:
        """Judge one step."""
        b = snap.balance
        self.energy_error = max(self.energy_error, _share(b.energy_error_kj, b.throughput_kj))
        self.mass_error = max(self.mass_error, _share(b.mass_error_kg, b.throughput_kg))


def _share(error: float, of: float) -> float:
    """An error over what it is judged against; infinite where either is no number."""
    share = 0.0 if error == 0.0 else abs(error) / of if of > 0.0 else np.inf
    return float(share) if np.isfinite(share) else np.inf


@dataclass(slots=True)
class _Table:
    """A Parquet file that grows; not there when it has no row."""

    path: Path
    waiting: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        self.waiting.append(table)
        self.rows += table.num_rows
        if self.rows >= _ROWS:
            self.flush()

    def flush(self) -> None:
        if not self.rows:
            return
        table = pa.concat_tables(self.waiting)
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self.writer.write_table(table)
        self.waiting, self.rows = [], 0

    def close(self) -> None:
        self.flush()
        if self.writer is not None:
            self.writer.close()


class TruthFiles:
    """``truth_network``, ``truth_device`` and ``truth_weighing.parquet``, and ``truth_faults.json``.

    Parameters
    ----------
    out : Path
        A directory.
    """

    def __init__(self, out: Path, case: Case) -> None:
        self._out, self._case = out, case
        for stale in (*out.glob("truth_*.parquet"), out / "truth_faults.json"):  # of an earlier run
            stale.unlink(missing_ok=True)
        self._network = _Table(out / "truth_network.parquet")
        self._device = _Table(out / "truth_device.parquet")
        self._weighing = _Table(out / "truth_weighing.parquet")
        self.closure = Closure()

    def take(self, readings: UnitReadings) -> None:
        """Keep what was true in one step."""
        for heat in readings.heat:
            if heat.last is not None:
                self._take(heat, heat.last, readings.faults.taken_kg_s(heat.truth.network.id))
        if readings.weighings:
            rows = [
                {"t": w.t_ms, "bridge": w.bridge, **w.values, "true_kg": w.true_kg, "coal_kg": w.coal_kg}
                for w in readings.weighings
            ]
            self._weighing.add(pa.Table.from_pylist(rows))
        self.closure.steps += 1

    def _take(self, heat: HeatTelemetry, snap: Snapshot, taken_kg_s: Mapping[str, float]) -> None:
        self.closure.take(snap)
        self._network.add(pa.Table.from_pylist([_network_row(heat, snap, taken_kg_s)]))
        self._device.add(_device_rows(heat, snap))

    def close(self, faults: Faults) -> None:
        """Write what is left, and what went wrong."""
        for table in (self._network, self._device, self._weighing):
            table.close()
        case = self._case
        told = []
        for fault in case.faults:
            kind, first_ms = KINDS[fault.kind], faults.first_ms.get(fault)
            late_ms = (first_ms or 0) - fault.onset_ms if fault.kind == "counter_rollover" else 0
            told.append({
                **asdict(fault), "size_is": kind.size, "first_ms": first_ms,
                "deadline_h": kind.deadline_h,
                "deadline_ms": fault.deadline_ms + (late_ms if first_ms else 0), "shows": kind.shows,
            })  # fmt: skip
        if case.logistics:
            told += [wrong_row(wrong) for wrong in case.logistics.plan.wrongs]
        truth = {"seed": case.seed, "start_ms": case.start_ms, "hours": case.hours, "faults": told}
        text = json.dumps(truth, indent=1, ensure_ascii=False) + "\n"
        (self._out / "truth_faults.json").write_text(text, encoding="utf-8")


def _network_row(heat: HeatTelemetry, snap: Snapshot, taken_kg_s: Mapping[str, float]) -> dict[str, Any]:
    b, s, plant = snap.balance, snap.seconds, heat.truth.plant
    row = {
        "t": snap.t_ms, "network": heat.truth.network.id, "seconds": s, "outdoor_c": snap.outdoor_c,
        "supplied_kj": b.supplied_kj, "delivered_kj": float(b.delivered_kj.sum()), "lost_kj": b.lost_kj,
        "stored_kj": b.stored_kj, "leaked_kj": b.leaked_kj, "given_kg": b.given_kg,
        "stored_kg": b.stored_kg, "leaked_kg": b.leaked_kg, "makeup_kg": plant.makeup_kg,
        "tank_kg": plant.tank_kg, "fuel_kg": plant.fuel_kg, "energy_error_kj": b.energy_error_kj,
        "mass_error_kg": b.mass_error_kg,
    }  # fmt: skip
    return row | {f"{kind}_kg": taken_kg_s.get(kind, 0.0) * s for kind in sorted(DRAINING)}


def _device_rows(heat: HeatTelemetry, snap: Snapshot) -> pa.Table:
    truth, b = heat.truth, snap.balance
    names = [truth.plant_device.device, *(d.device for d in truth.devices)]
    heat_kw = np.append(b.supplied_kj, b.delivered_kj) / snap.seconds
    columns = {
        "t": np.full(len(names), snap.t_ms), "device": names, "flow_kg_s": snap.flow_kg_s,
        "supply_c": snap.supply_c, "return_c": snap.return_c, "supply_kpa": snap.supply_kpa,
        "return_kpa": snap.return_kpa, "heat_kw": heat_kw,
        "indoor_c": np.append(np.nan, truth.substations.indoor_c),
    }  # fmt: skip
    return pa.table(columns)
