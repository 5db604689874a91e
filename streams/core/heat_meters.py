"""Rows of `device_heat` of a network's plants and consumers, a column for each that is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Device
from streams.core.network_rows import NetworkRows
from streams.core.window_state import NONE

__all__ = ["HeatMeters", "heat_meters"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_DELIVERS: Final = ("substation", "meter")
_FIELDS: Final = (
    "heat_gj", "heat_u_gj", "volume_m3", "supply_c", "return_c", "flow_m3_h", "coverage",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeatMeters:
    """Registered plants and consumers of the network, sorted by id, heard of or not.

    Attributes
    ----------
    devices : list of Device
    is_plant : ndarray of bool, shape (devices,)
    values : dict of str to ndarray, shape (steps, devices)
        Fields of `device_heat`, NaN where there is no row.
    window : slice
        Steps of the window that have begun.
    took, put : ndarray of int64
        Of those heard of, the place among the rows' devices, and the column.
    """

    devices: list[Device]
    is_plant: BoolArray
    values: dict[str, FloatArray]
    window: slice
    took: IntArray
    put: IntArray

    def of_devices(self, values: FloatArray) -> FloatArray:
        """Values by device of the network's rows, as one by column; NaN of those not heard of."""
        out = np.full(len(self.devices), np.nan)
        out[self.put] = values[self.took]
        return out

    def __getitem__(self, field: str) -> FloatArray:
        return self.values[field]


def heat_meters(rows: NetworkRows) -> HeatMeters:
    """Give columns to every registered device, so that it does not matter who has spoken yet."""
    devices = sorted(
        (
            d
            for d in rows.registry.devices.values()
            if d.network == rows.network.id and d.device_class in ("plant", *_DELIVERS)
        ),
        key=lambda d: d.device,
    )
    column = {d.device: at for at, d in enumerate(devices)}
    heard = [(at, column[i]) for at, i in enumerate(rows.site.ids[n] for n in rows.devices) if i in column]
    took = np.array([a for a, _ in heard], dtype=np.int64)
    put = np.array([b for _, b in heard], dtype=np.int64)
    values = {}
    for field in _FIELDS:
        values[field] = np.full((len(rows.steps_ms), len(devices)), np.nan)
        values[field][:, put] = rows("device_heat", field)[:, took]
    # Steps at the end of which nothing is said of anybody have not begun.
    said = (rows.status("device_heat")[rows.window] != NONE).any(axis=1)
    last = rows.window.start + (int(np.flatnonzero(said)[-1]) + 1 if said.any() else 0)
    plant = np.array([d.device_class == "plant" for d in devices], dtype=bool)
    return HeatMeters(devices, plant, values, slice(rows.window.start, last), took, put)
