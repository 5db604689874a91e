"""Days of a boiler house: what was burnt of which lot, how well, and what is to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fuel_heat import Loads, by_supplier, efficiency_pct, heat_of_gj, joined, steady_loads
from models.yard_account import OPENING, Lots, YardAccount

__all__ = ["KNOWN", "BurningDays", "SupplierDays", "foretold_loads", "recent_loads"]

FloatArray = NDArray[np.float64]

KNOWN: Final = 0.9
"""Share of a day's coal and heat that has to be known for the day to be judged."""
_LEAST_DAYS: Final = 3
_RECENT_DAYS: Final = 7
_LEAST_SCATTER: Final = 0.05
_GJ_PER_KWH: Final = 3.6e-3


@dataclass(frozen=True, slots=True)
class SupplierDays:
    """One supplier's coal as it burnt, over all days.

    Attributes
    ----------
    burnt_t : float
        On the last day. [t]
    share_pct : float
        Of the heat fired on the last day. [%]
    residual_pct, residual_u_pct : float
        See `models.fuel_heat.by_supplier`; NaN where it cannot be told. [%]
    days : int
        Days on which any of it was burnt.
    """

    supplier: str
    burnt_t: float
    share_pct: float
    residual_pct: float
    residual_u_pct: float
    days: int


@dataclass(frozen=True, slots=True)
class BurningDays:
    """Days in order; the last is the one that is told of.

    Attributes
    ----------
    heat_gj, burnt_kg : ndarray, shape (d,)
        Metered heat and coal.
    coverage : ndarray, shape (d,)
        Share of each day in which both are known, 0 to 1.
    taken_kg : ndarray, shape (d, n)
        Of each lot. [kg]
    lots : Lots
    hours : ndarray, shape (d,)
        Time that the heat and the coal are of. [h]
    """

    heat_gj: FloatArray
    burnt_kg: FloatArray
    coverage: FloatArray
    taken_kg: FloatArray
    lots: Lots
    hours: FloatArray

    @classmethod
    def of(
        cls,
        books: YardAccount,
        days: Sequence[tuple[int, int]],
        heat_gj: FloatArray,
        burnt_kg: FloatArray,
        coverage: FloatArray,
        hours: FloatArray | None = None,
    ) -> BurningDays:
        """From the yard's books: what a survey missed was not burnt, so shares are scaled to what was."""
        taken = np.array([books.taken_kg(start - 1, end - 1) for start, end in days])
        hours = 24.0 * coverage if hours is None else hours
        whole = taken.sum(axis=1)
        scale = np.where(whole > 0.0, burnt_kg / np.where(whole > 0.0, whole, 1.0), 0.0)
        return cls(heat_gj, burnt_kg, coverage, taken * scale[:, None], books.lots, hours)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Days that can be judged."""
        fired = self.taken_kg.sum(axis=1) > 0.0
        return np.asarray((self.coverage >= KNOWN) & (self.burnt_kg > 0.0) & fired, dtype=np.bool_)

    def efficiency_pct(self, *, paper: bool) -> FloatArray:
        """Of each day, by the heat of the coal as best known or as on paper; NaN where not known. [%]"""
        q = self.lots.paper_mj_kg if paper else self.lots.q_mj_kg
        fired_gj = heat_of_gj(self.taken_kg, q)
        return np.where(self.known, efficiency_pct(self.heat_gj, 1e3 * fired_gj, 1.0), np.nan)

    def usual(self) -> float:
        """Middle efficiency of the days, 0 to 1; where few are known that of all that is; NaN of nothing."""
        of_days = self.efficiency_pct(paper=False)
        if (of_days > 0.0).sum() >= _LEAST_DAYS:
            return float(np.median(of_days[of_days > 0.0])) / 100.0
        fired_gj = heat_of_gj(self.taken_kg, self.lots.q_mj_kg)
        known = (fired_gj > 0.0) & (self.heat_gj > 0.0)
        return float(self.heat_gj[known].sum() / fired_gj[known].sum()) if known.any() else float("nan")

    @property
    def residual_pct(self) -> tuple[float, float]:
        """By how much the last day's heat is off what its coal on paper usually gives; NaN unknown. [%]

        And its uncertainty (k = 2), by how the days before scatter.
        """
        of_days = self.efficiency_pct(paper=True)
        before = of_days[:-1][~np.isnan(of_days[:-1])]
        if len(before) < _LEAST_DAYS:
            return float("nan"), float("nan")
        middle = float(np.median(before))
        spread = float(np.std(before, ddof=1) * np.sqrt(1.0 + 1.0 / len(before)))
        return float(100.0 * (of_days[-1] / middle - 1.0)), 200.0 * spread / middle

    @property
    def fired_mj_kg(self) -> float:
        """Net calorific value of what was burnt on the last day; NaN where nothing was. [MJ/kg]"""
        burnt = float(self.taken_kg[-1].sum())
        heat_gj = float(heat_of_gj(self.taken_kg[-1], self.lots.q_mj_kg))
        return 1e3 * heat_gj / burnt if burnt > 0.0 else float("nan")

    def suppliers(self) -> list[SupplierDays]:
        """Every supplier of whom something was burnt; what lay there before is nobody's."""
        names = sorted(set(self.lots.supplier))
        mine = np.array([[s == name for name in names] for s in self.lots.supplier], dtype=np.float64)
        burnt = self.taken_kg @ mine
        heat = np.where(self.taken_kg > 0.0, self.taken_kg * self.lots.paper_mj_kg, 0.0) @ mine
        fired = heat.sum(axis=1, keepdims=True)
        share = np.where(fired > 0.0, heat / np.where(fired > 0.0, fired, 1.0), 0.0)
        residual, u = by_supplier(self.efficiency_pct(paper=True), share)
        return [
            SupplierDays(
                name, float(burnt[-1, n]) / 1e3, 100.0 * float(share[-1, n]), float(residual[n]), float(u[n]),
                int((burnt[:, n] > 0.0).sum()),
            )
            for n, name in enumerate(names)
            if name != OPENING and burnt[:, n].sum() > 0.0
        ]  # fmt: skip


def recent_loads(days: BurningDays, *, by_mass: bool = False) -> Loads | None:
    """Loads as of late; None where nothing is known.

    The days before the last one, seven at most; with fewer than three of them what is known of any time: its
    P10 and P90 are NaN, since nobody knows how such days scatter.

    Parameters
    ----------
    days : BurningDays
    by_mass : bool
        Coal in place of heat: 1 kg stands for 1 GJ.
    """
    amount = days.burnt_kg if by_mass else days.heat_gj
    whole = np.flatnonzero(days.known[:-1])[-_RECENT_DAYS:]
    if len(whole) >= _LEAST_DAYS:
        rates = amount[whole] / days.hours[whole] / _GJ_PER_KWH
        mean = float(rates.mean())
        return steady_loads(mean, max(float(rates.std(ddof=1)), _LEAST_SCATTER * mean), "recent")
    late = slice(-_RECENT_DAYS - 1, None)
    hours, total = float(days.hours[late].sum()), float(amount[late].sum())
    return (
        steady_loads(total / hours / _GJ_PER_KWH, float("nan"), "recent") if hours and total > 0.0 else None
    )


def foretold_loads(points: Mapping[int, tuple[float, float, float]], then: Loads) -> Loads:
    """Loads by a forecast of some hours ahead, and `then` beyond the last of them.

    Parameters
    ----------
    points : mapping of int to (float, float, float)
        P10, P50 and P90 by hours ahead; hours between lie between. [kW]
    then : Loads

    Examples
    --------
    >>> then = steady_loads(50.0, 0.0, "recent", 5)
    >>> loads = foretold_loads({1: (8.0, 10.0, 12.0), 3: (8.0, 12.0, 16.0)}, then)
    >>> loads.p50_kw, loads.basis
    (array([10., 11., 12., 50., 50.]), 'forecast')
    """
    hours = sorted(points)
    ahead = np.arange(1, hours[-1] + 1)
    deciles = np.array([points[h] for h in hours]).T
    return joined([np.interp(ahead, hours, row) for row in deciles], then, "forecast")
