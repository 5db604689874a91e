"""Plant and consumers of a network in one settled step, for learners: what flowed through each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.site import Device
from models.water import density_kg_m3
from streams.core.network_rows import Settled

__all__ = ["by_device", "members_of", "step_flows"]

FloatArray = NDArray[np.float64]


def members_of(settled: Settled, network: str) -> list[Device]:
    """The plant of a network, then its consumers; empty where there is not one plant or a node lacks."""
    devices = [d for d in settled.site.site.devices.values() if d.network == network]
    plants = [d for d in devices if d.device_class == "plant"]
    takes = sorted((d for d in devices if d.device_class in {"substation", "meter"}), key=lambda d: d.device)
    every = [*plants, *takes]
    return every if len(plants) == 1 and all(d.node for d in every) else []


def by_device(settled: Settled, members: Sequence[Device], values: FloatArray) -> FloatArray:
    """Values by device of the stream as those of members, NaN of those not heard of; last axis."""
    index = {name: at for at, name in enumerate(settled.site.ids)}
    at = np.array([index.get(d.device, -1) for d in members], dtype=np.int64)
    wide = np.append(values, np.full((*values.shape[:-1], 1), np.nan), axis=-1)
    return np.asarray(wide[..., at])


def step_flows(settled: Settled, members: Sequence[Device]) -> tuple[FloatArray, FloatArray]:
    """Mass through each member and its supply temperature; NaN where not final. [t], [°C]"""
    subjects, final = settled.subjects("device_heat"), settled.final("device_heat")
    wide = np.full((3, len(settled.site.ids)), np.nan)
    for row, field in enumerate(("volume_m3", "supply_c", "return_c")):
        wide[row, subjects] = np.where(final, settled("device_heat", field), np.nan)
    volume, hot, cold = by_device(settled, members, wide)
    on_supply = np.array([d.mounting == "supply" for d in members], dtype=bool)
    return np.asarray(volume * density_kg_m3(np.where(on_supply, hot, cold)) * 1e-3), hot
