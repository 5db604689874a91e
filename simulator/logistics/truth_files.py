"""The truth of coal on the road as Parquet files, beside the telemetry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.logistics.books import Flow, YardBook
from simulator.logistics.boxes import FAULTS, Fixes
from simulator.logistics.kinds import KINDS, Wrong
from simulator.logistics.labs import LabResult
from simulator.logistics.post import Disordered
from simulator.logistics.trips import Injected, Stop, Trip, TrueWeighing
from simulator.logistics.yards import Burning

if TYPE_CHECKING:
    from simulator.logistics.world import World

__all__ = ["Truths", "trip_row", "wrong_row"]

_TYPES: Final = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}
_LARGE: Final = 50_000


def _schema(thing: type) -> pa.Schema:
    return pa.schema([(f.name, _TYPES[str(f.type)]) for f in fields(thing)])


_OUTAGE: Final = pa.schema(
    [("device", pa.string()), ("start_ms", pa.int64()), ("until_ms", pa.int64()), ("backfilled", pa.bool_())]
)
_FIX: Final = pa.schema(
    [("device", pa.string()), ("taken_ms", pa.int64()), ("t_ms", pa.int64()), ("fault", pa.string())]
)
_TIMES: Final = (
    "tare_origin_ms", "gross_origin_ms", "departed_ms", "half_way_ms", "arrived_ms", "gross_destination_ms",
    "tare_destination_ms", "shown_gross_ms", "shown_tare_ms",
)  # fmt: skip
_TRIP: Final = pa.schema([
    *[(n, pa.string()) for n in ("plate", "shown_plate", "device", "contract", "seller", "origin",
                                 "destination", "lot", "origin_ticket", "destination_ticket", "state",
                                 "wrongs")],
    *[(n, pa.int64()) for n in ("trip", *_TIMES)],
    *[(n, pa.int64()) for n in ("loaded_kg", "received_kg", "true_loaded_kg", "true_received_kg", "spilt_kg",
                                "taken_kg", "water_kg")],
    *[(n, pa.float64()) for n in ("moisture_origin_pct", "moisture_destination_pct", "certified_mj_kg",
                                  "origin_mj_kg", "destination_mj_kg", "length_m", "rest_s", "queue_origin_s",
                                  "queue_destination_s")],
])  # fmt: skip


def trip_row(trip: Trip, end_ms: int) -> dict[str, Any]:
    """A trip as it stands at `end_ms`: what comes later is not in it, but the arrival that is under way."""
    load, contract = trip.load, trip.contract
    assert load is not None
    closed = trip.tare_destination_ms is not None and trip.tare_destination_ms <= end_ms
    row: dict[str, Any] = {name: getattr(trip, name) for name in _TIMES}
    for name in ("gross_destination_ms", "tare_destination_ms", "shown_gross_ms", "shown_tare_ms"):
        if not closed and (row[name] is None or row[name] > end_ms):
            row[name] = None
    row |= {
        "trip": trip.number, "plate": trip.plate, "shown_plate": trip.shown_plate or trip.plate,
        "device": trip.device, "contract": contract.contract, "seller": contract.seller,
        "origin": contract.origin, "destination": contract.destination, "lot": trip.lot,
        "origin_ticket": trip.origin_ticket, "destination_ticket": trip.destination_ticket,
        "state": "closed" if closed else "open", "wrongs": "+".join(trip.wrongs),
        "loaded_kg": trip.loaded_kg, "received_kg": trip.received_kg if closed else None,
        "true_loaded_kg": load.loaded_kg, "true_received_kg": load.received_kg if closed else None,
        "spilt_kg": load.spilt_kg, "taken_kg": load.taken_kg, "water_kg": load.water_kg,
        "moisture_origin_pct": load.moisture_pct, "moisture_destination_pct": load.arrival_pct,
        "certified_mj_kg": load.certified_mj_kg, "origin_mj_kg": load.origin_mj_kg,
        "destination_mj_kg": load.arrival_mj_kg, "length_m": trip.road.length_m if trip.road else None,
        "rest_s": trip.rest_s, "queue_origin_s": trip.queue_origin_s,
        "queue_destination_s": trip.queue_destination_s,
    }  # fmt: skip
    return row


def wrong_row(wrong: Wrong) -> dict[str, Any]:
    """A wrong with the anomaly that it ought to raise."""
    kind = KINDS[wrong.kind]
    subject = f"{kind.subject}:{wrong.place}" if kind.code and kind.subject != "ticket" else ""
    return {**asdict(wrong), "code": kind.code, "subject": subject, "deadline_h": kind.deadline_h}


def _begins_ms(row: TrueWeighing | Stop | Burning) -> int:
    return row.start_ms if isinstance(row, Stop) else row.t_ms


class _Sink:
    """One Parquet file that grows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema, self._rows = schema, list[dict[str, Any]]()

    def add(self, rows: Iterable[Any]) -> None:
        names = self._schema.names
        self._rows += [r if isinstance(r, dict) else {n: getattr(r, n) for n in names} for r in rows]
        if len(self._rows) >= _LARGE:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []

    def close(self) -> None:
        self.flush()
        self._writer.close()


class Truths:
    """The truth files of one run.

    Parameters
    ----------
    folder : Path
    devices : sequence of str or None
        Device of each truck.
    end_ms : int
        What comes later is left out, ms UTC.
    """

    def __init__(self, folder: Path, devices: tuple[str | None, ...], end_ms: int) -> None:
        self._devices, self._end_ms = devices, end_ms
        schemas = {
            "trip": _TRIP, "weighing": _schema(TrueWeighing), "stop": _schema(Stop), "flow": _schema(Flow),
            "yard": _schema(YardBook), "lab": _schema(LabResult), "injected": _schema(Injected),
            "disorder": _schema(Disordered), "burning": _schema(Burning), "outage": _OUTAGE, "fix": _FIX,
        }  # fmt: skip
        self._sinks = {name: _Sink(folder / f"truth_{name}.parquet", s) for name, s in schemas.items()}

    def take(self, world: World, fixes: Fixes | None, outages: Iterable[tuple[str, int, int, bool]]) -> None:
        """What has come since the last time, and is not needed by the world any more."""
        for name, rows in (
            ("weighing", world.weighings),
            ("stop", world.stops),
            ("burning", world.yards.burning),
        ):
            self._sinks[name].add(row for row in rows if _begins_ms(row) <= self._end_ms)
            rows.clear()
        self._sinks["outage"].add(dict(zip(_OUTAGE.names, row, strict=True)) for row in outages)
        if fixes is not None:
            wrong = np.flatnonzero(fixes.fault)
            self._sinks["fix"].add(
                {
                    "device": self._devices[int(fixes.truck[n])], "taken_ms": int(fixes.taken_ms[n]),
                    "t_ms": int(fixes.t_ms[n]), "fault": FAULTS[int(fixes.fault[n])],
                }
                for n in wrong.tolist()
            )  # fmt: skip

    def close(self, world: World, now_ms: int | None = None) -> None:
        """Write what the world kept, at the end, or at `now_ms` (ms UTC) where that is earlier."""
        end_ms = self._end_ms if now_ms is None else min(now_ms, self._end_ms)
        self._sinks["trip"].add(
            trip_row(t, end_ms) for t in world.trips if (t.gross_origin_ms or 0) <= end_ms
        )
        self._sinks["flow"].add(f for f in world.books.flows if f.t_ms <= end_ms)
        self._sinks["yard"].add(y for y in world.books.yards if y.t_ms <= end_ms)
        self._sinks["lab"].add(r for r in world.lots.results if r.t_ms <= end_ms)
        self._sinks["injected"].add(i for i in world.wrongs.touched if i.t_ms <= end_ms)
        self._sinks["disorder"].add(d for d in world.post.disordered if d.t_ms <= end_ms)
        for sink in self._sinks.values():
            sink.close()
