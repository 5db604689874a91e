"""Plug flow: water travels through a pipe in parcels that cool on the way and do not mix.

All pipes of one side are rows of the same arrays; row by row a step conserves
mass and energy to rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator import water

__all__ = ["PlugFlow"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class PlugFlow:
    """What stands in the pipes of one side.

    Parameters
    ----------
    volume_m3 : ndarray, shape (pipes,)
    loss_w_k : ndarray, shape (pipes,)
        U times length: heat lost for each kelvin over the ground. [W/K]
    h_kj_kg : float or ndarray
        Enthalpy of the first filling. [kJ/kg]
    parcels : int
        Parcels kept for a pipe; when a new one arrives, the two neighbours
        whose union loses the least are joined.
    wall_kj_k : ndarray, shape (pipes,), optional
        Heat capacity of the steel, through which water passes on its way out [1]_. [kJ/K]

    References
    ----------
    .. [1] B. van der Heijde et al., Energy Conversion and Management 151 (2017) 158: one wall, at the outlet.

    Attributes
    ----------
    mass_kg, h_kj_kg : ndarray, shape (pipes, parcels)
        Parcels from the inlet (as water flows now) to the outlet; an empty one has no mass.
    """

    def __init__(
        self,
        volume_m3: Array,
        loss_w_k: Array,
        h_kj_kg: float | Array,
        *,
        parcels: int = 24,
        wall_kj_k: Array | None = None,
    ) -> None:
        pipes = len(volume_m3)
        self.volume_m3 = np.asarray(volume_m3, dtype=np.float64)
        self.loss_w_k = np.asarray(loss_w_k, dtype=np.float64)
        self.h_kj_kg = np.broadcast_to(np.reshape(h_kj_kg, (-1, 1)), (pipes, parcels)).astype(np.float64)
        self.wall_kj_k = np.zeros(pipes) if wall_kj_k is None else np.asarray(wall_kj_k, dtype=np.float64)
        self.wall_c = np.broadcast_to(water.temperature_c(h_kj_kg), (pipes,)).astype(np.float64)
        self.mass_kg = self.volume_m3[:, None] * water.density_of_h(self.h_kj_kg) / parcels

    @property
    def total_kg(self) -> float:
        """Mass of all water in the pipes. [kg]."""
        return float(self.mass_kg.sum())

    @property
    def energy_kj(self) -> float:
        """Enthalpy of all water in the pipes and of their walls over 0 °C. [kJ]."""
        return float((self.mass_kg * self.h_kj_kg).sum() + (self.wall_kj_k * self.wall_c).sum())

    def mean_h(self) -> Array:
        """Mean enthalpy of each pipe, shape (pipes,). [kJ/kg]."""
        mean: Array = (self.mass_kg * self.h_kj_kg).sum(1) / self.mass_kg.sum(1)
        return mean

    def deficit_kg(self) -> Array:
        """What would fill each pipe again after its water shrank; negative where it swelled. [kg]."""
        rho = water.density_of_h(self.h_kj_kg)
        missing_m3 = self.volume_m3 - (self.mass_kg / rho).sum(1)
        missing: Array = missing_m3 * rho[:, 0]
        return missing

    def reverse(self, rows: Index) -> None:
        """Turn the order of the parcels of pipes whose flow has turned."""
        self.mass_kg[rows] = self.mass_kg[rows, ::-1]
        self.h_kj_kg[rows] = self.h_kj_kg[rows, ::-1]

    def advance(self, rows: Index, in_kg: Array, h_in: Array, out_kg: Array) -> Array:
        """Push water into pipes and take what leaves them at the other end.

        Returns
        -------
        ndarray, shape (rows,)
            Enthalpy that left; divided by `out_kg`, its mean. [kJ]
        """
        left, gone, fresh_kg = self.drain(rows, in_kg, out_kg)
        self.store(rows, left, in_kg - fresh_kg, h_in)
        gone += fresh_kg * h_in
        return gone - self.pass_wall(rows, gone, out_kg)

    def drain(self, rows: Index, in_kg: Array, out_kg: Array) -> tuple[Array, Array, Array]:
        """What leaves pipes when water is pushed into them: old content first, then the new water itself.

        Nothing is changed: `store` does that.

        Returns
        -------
        left : ndarray, shape (rows, parcels)
            Old content that stays. [kg]
        gone : ndarray, shape (rows,)
            Enthalpy of the old content that leaves. [kJ]
        fresh_kg : ndarray, shape (rows,)
            New water that passes right through. [kg]
        """
        mass = self.mass_kg[rows]
        behind = np.cumsum(mass, axis=1)
        content = behind[:, -1]
        # What lies behind a parcel, counted from the outlet, leaves before it does.
        leaves = np.clip(out_kg[:, None] - (content[:, None] - behind), 0.0, mass)
        gone: Array = (leaves * self.h_kj_kg[rows]).sum(1)
        return mass - leaves, gone, np.clip(out_kg - content, 0.0, in_kg)

    def store(self, rows: Index, left: Array, new_kg: Array, h_in: Array) -> None:
        """Keep what is left of the old content, and the new water before it."""
        mass = np.concatenate([new_kg[:, None], left], axis=1)
        self._join(rows, mass, np.concatenate([h_in[:, None], self.h_kj_kg[rows]], axis=1))

    def pass_wall(self, rows: Index, gone: Array, out_kg: Array) -> Array:
        """Let the walls take heat from the water that leaves, or give it; gives what they took. [kJ]."""
        wall = self.wall_kj_k[rows]
        flows = (wall > 0.0) & (out_kg > 0.0)
        if not flows.any():
            return np.zeros_like(gone)
        safe = np.where(flows, wall, 1.0)
        water_c = water.temperature_c(gone / np.where(flows, out_kg, 1.0))
        rise = (water_c - self.wall_c[rows]) * -np.expm1(-out_kg * water.CP_KJ_KG_K / safe)
        self.wall_c[rows] += np.where(flows, rise, 0.0)
        taken: Array = np.where(flows, wall * rise, 0.0)
        return taken

    def _join(self, rows: Index, mass: Array, h: Array) -> None:
        """Store one parcel more than there is room for, joining the two neighbours that differ least."""
        left, right = mass[:, :-1], mass[:, 1:]
        both = left + right
        safe = np.where(both > 0.0, both, 1.0)
        cost = left * right / safe * (h[:, :-1] - h[:, 1:]) ** 2
        joined = np.argmin(cost, axis=1)
        slots = np.arange(mass.shape[1] - 1)
        before, at = slots < joined[:, None], slots == joined[:, None]
        mean = np.where(both > 0.0, (left * h[:, :-1] + right * h[:, 1:]) / safe, h[:, 1:])
        self.mass_kg[rows] = np.where(before, left, np.where(at, both, right))
        self.h_kj_kg[rows] = np.where(before, h[:, :-1], np.where(at, mean, h[:, 1:]))

    def cool(self, ground_c: float, seconds: float) -> Array:
        r"""Let every parcel lose heat to the ground for a while.

        Each loses what its share of the pipe's volume lets through,
        :math:`T - T_g \propto \exp(-U L t / (V \rho c_p))`.

        Returns
        -------
        ndarray, shape (pipes,)
            Heat lost by each pipe. [kJ]
        """
        t_c = water.temperature_c(self.h_kj_kg)
        rho = water.density_of_h(self.h_kj_kg)
        filled_m3 = (self.mass_kg / rho).sum(1)
        rate = (self.loss_w_k / filled_m3)[:, None] / (rho * water.CP_KJ_KG_K)
        dropped = (t_c - ground_c) * -np.expm1(-rate * seconds / 1000.0) * water.CP_KJ_KG_K
        self.h_kj_kg -= dropped
        lost: Array = (self.mass_kg * dropped).sum(1)
        return lost
