"""Heat and weather of each network in one settled step, for learners: its devices' and its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.results import result_schema
from models.site import Device, Network, Site
from streams.core.network_rows import WEATHER, Settled

__all__ = ["HEAT", "WEATHER", "NetworkDevices", "StepColumns", "learnt_table", "networks_of"]

FloatArray = NDArray[np.float64]

HEAT: Final = "device_heat"
_METERS: Final = ("plant", "substation", "meter")


@dataclass(frozen=True, slots=True)
class NetworkDevices:
    """A network and the heat meters registered in it, heard of or not, by id.

    Attributes
    ----------
    network : Network
    devices : tuple of Device
    is_plant : ndarray of bool, shape (devices,)
    stations : tuple of str
        Weather devices of the network, or else of its unit.
    """

    network: Network
    devices: tuple[Device, ...]
    is_plant: NDArray[np.bool_]
    stations: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """Ids of the devices."""
        return [d.device for d in self.devices]

    @property
    def subjects(self) -> list[str]:
        """Ids of the devices and, last, of the network."""
        return [*self.ids, self.network.id]

    def heat_gj(self, settled: Settled) -> FloatArray:
        """Heat of each subject in the step, NaN where it is not final, shape (devices + 1,). [GJ]

        The network's is what its plants gave; NaN where it has none or one is not known.
        """
        heat = StepColumns(settled, HEAT, self.ids)("heat_gj")
        own = heat[self.is_plant].sum() if self.is_plant.any() else np.nan
        return np.append(heat, own)

    def outdoor_c(self, settled: Settled) -> float:
        """Mean temperature by the weather stations in the step, else by the plants; NaN without any. [°C]"""
        for ids in (self.stations, [d.device for d in self.devices if d.device_class == "plant"]):
            found = StepColumns(settled, WEATHER, ids)("outdoor_c")
            found = found[~np.isnan(found)]
            if len(found):
                return float(found.mean())
        return float("nan")


def networks_of(site: Site, stream: str) -> list[NetworkDevices]:
    """Networks with heat meters in a stream, by id."""
    by_network: dict[str, list[Device]] = {}
    stations: list[Device] = []
    for device in site.devices.values():
        if device.stream == stream and device.device_class in _METERS and device.network:
            by_network.setdefault(device.network, []).append(device)
        elif device.stream == stream and device.device_class == "weather":
            stations.append(device)
    found = []
    for name, devices in sorted(by_network.items()):
        network = site.networks[name]
        own = [s.device for s in stations if s.network == name]
        of_unit = [s.device for s in stations if not s.network and s.unit == network.unit]
        devices.sort(key=lambda d: d.device)
        is_plant = np.array([d.device_class == "plant" for d in devices], dtype=bool)
        found.append(NetworkDevices(network, tuple(devices), is_plant, tuple(sorted(own or of_unit))))
    return found


class StepColumns:
    """Final rows of some devices in a settled step, field by field.

    Parameters
    ----------
    settled : Settled
    measurement : str
    ids : sequence of str
        The devices.
    """

    def __init__(self, settled: Settled, measurement: str, ids: Sequence[str]):
        self._settled, self._measurement = settled, measurement
        names = settled.site.ids
        known = {names[s]: at for at, s in enumerate(settled.subjects(measurement).tolist())}
        self._where = np.array([known.get(i, -1) for i in ids], dtype=np.int64)
        self._final = settled.final(measurement)

    def __call__(self, field: str) -> FloatArray:
        """Values of a field, NaN where there is no final row or no value, shape (ids,)."""
        values = np.where(self._final, self._settled(self._measurement, field), np.nan)
        return np.append(values, np.nan)[self._where]


def learnt_table(
    settled: Settled,
    network: Network,
    columns: Mapping[str, FloatArray],
    rest: Mapping[str, Sequence[object] | NDArray[Any]],
    model: str,
) -> pa.Table:
    """Rows of one network's subjects as a result table.

    Parameters
    ----------
    settled : Settled
    network : Network
    columns : mapping of str to ndarray
        The measurement's fields and `coverage`; NaN is absent.
    rest : mapping of str to sequence
        `key`, `window_start`, `window_ms`, `status` and `reason` of each row.
    model : str
    """
    n = len(rest["key"])
    region = settled.site.site.units[network.unit].region
    schema = result_schema([pa.field(f, pa.float64()) for f in columns if f != "coverage"])
    arrays = {f: pa.array(v, pa.float64(), from_pandas=True) for f, v in columns.items()}
    arrays |= {
        "key": pa.array(rest["key"], pa.string()),
        "unit": pa.array([network.unit] * n, pa.string()),
        "region": pa.array([region] * n, pa.string()),
        "stream": pa.array([settled.stream] * n, pa.string()),
        "window_start": pa.array(rest["window_start"], pa.int64()),
        "window_ms": pa.array(rest["window_ms"], pa.int64()),
        "status": pa.array(rest["status"], pa.string()),
        "reason": pa.array([r or None for r in rest["reason"]], pa.string()),
        "revision": pa.array(np.zeros(n, np.int32)),
        "model": pa.array([model] * n, pa.string()),
    }
    return pa.table(arrays).select(schema.names).cast(schema)
