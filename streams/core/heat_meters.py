"""Rows of `device_heat` of a network's plants and consumers, a column for each that is registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Device
from streams.core.network_rows import STEP_MS, NetworkRows
from streams.core.window_state import FINAL, NONE, UNKNOWN

__all__ = ["HeatMeters", "heat_meters"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_DELIVERS: Final = ("substation", "meter")
_FIELDS: Final = (
    "heat_gj", "heat_u_gj", "volume_m3", "supply_c", "return_c", "flow_m3_h", "coverage",
)  # fmt: skip
_WHOLE: Final = 0.9999
"""Coverage of a quarter of an hour that has a reading after its end: sums of shares are not quite 1."""
_LEAST_WHOLE, _MOST_BEGUN = 0.5, 0.1
"""Of consumers, by the size of their meters, how many have to tell a quarter and how many may tell a part."""


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
        Steps of the window that have begun; while it fills those that plants and consumers cover.
    until_ms : int
        End of what is looked at of the window. [ms UTC]
    took, put : ndarray of int64
        Of those heard of, the place among the rows' devices, and the column.
    """

    devices: list[Device]
    is_plant: BoolArray
    values: dict[str, FloatArray]
    window: slice
    took: IntArray
    put: IntArray
    until_ms: int

    def of_devices(self, values: FloatArray) -> FloatArray:
        """Values by device of the network's rows, as one by column; NaN of those not heard of."""
        out = np.full(len(self.devices), np.nan)
        out[self.put] = values[self.took]
        return out

    def __getitem__(self, field: str) -> FloatArray:
        return self.values[field]


def heat_meters(rows: NetworkRows) -> HeatMeters:
    """Give columns to every registered device, so that it does not matter who has spoken yet.

    Of a window that fills the quarters count that have passed for all plants and nearly all consumers. What a
    device says of a quarter whose end it has not told yet is of a part of it, and counts as nothing.
    """
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
    status = rows.status("device_heat")
    # Steps at the end of which nothing is said of anybody have not begun.
    said = (status[rows.window] != NONE).any(axis=1)
    last = rows.window.start + (int(np.flatnonzero(said)[-1]) + 1 if said.any() else 0)
    plant = np.array([d.device_class == "plant" for d in devices], dtype=bool)
    until_ms = rows.end_ms
    if rows.filling:
        settled = np.zeros((len(rows.steps_ms), len(devices)), dtype=bool)
        settled[:, put] = ((status == FINAL) | (status == UNKNOWN))[:, took]
        begun = _begun(values["coverage"], settled)
        for field in _FIELDS:
            values[field][begun] = np.nan
        told = settled | (np.nan_to_num(values["coverage"]) > 0.0)
        size = np.zeros(len(devices))
        size[put] = _sizes([devices[at] for at in put])
        last = _passed(begun, told, np.where(plant, 0.0, size), plant, slice(rows.window.start, last))
        until_ms = rows.start_ms + (last - rows.window.start) * STEP_MS
    return HeatMeters(devices, plant, values, slice(rows.window.start, last), took, put, until_ms)


def _begun(coverage: FloatArray, settled: BoolArray) -> BoolArray:
    """Whether a device's newest reading lies in a step, shape (steps, devices): it tells a part of it."""
    covered = np.nan_to_num(coverage) > 0.0
    later = np.logical_or.accumulate(covered[::-1], axis=0)[::-1]
    heard_since = np.append(later[1:], np.zeros((1, coverage.shape[1]), dtype=bool), axis=0)
    return np.asarray(covered & (coverage < _WHOLE) & ~heard_since & ~settled)


def _sizes(devices: Sequence[Device]) -> FloatArray:
    """Sizes of meters, of those that nobody knows their mean, or all alike. [m³/h]"""
    size = np.array([d.qp_m3_h or np.nan for d in devices])
    known = size[~np.isnan(size)]
    return np.where(np.isnan(size), known.mean() if len(known) else 1.0, size)


def _passed(begun: BoolArray, told: BoolArray, size: FloatArray, plant: BoolArray, window: slice) -> int:
    """End of the last step of `window` that is told by every plant and enough of the consumers."""
    first, last = int(window.start), int(window.stop)
    for step in range(last - 1, first - 1, -1):
        enough = told[step] @ size >= _LEAST_WHOLE * size.sum()
        if told[step, plant].all() and enough and begun[step] @ size <= _MOST_BEGUN * size.sum():
            return step + 1
    return first
