"""Days of a boiler house: what was burnt of which lot, how well, and what is to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fuel_heat import USUAL_EFFICIENCY, Loads, by_supplier, efficiency_pct, joined, steady_loads
from models.yard_account import OPENING, Lots, YardAccount

__all__ = ["KNOWN", "BurningDays", "SupplierDays", "foretold_loads", "recent_loads"]

FloatArray = NDArray[np.float64]

KNOWN: Final = 0.9
"""Share of a day's coal and heat that has to be known for the day to be judged."""
_LEAST_DAYS: Final = 3
_RECENT_DAYS: Final = 7
_LEAST_SCATTER: Final = 0.05


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
    """

    heat_gj: FloatArray
    burnt_kg: FloatArray
    coverage: FloatArray
    taken_kg: FloatArray
    lots: Lots

    @classmethod
    def of(
        cls,
        books: YardAccount,
        days: Sequence[tuple[int, int]],
        heat_gj: FloatArray,
        burnt_kg: FloatArray,
        coverage: FloatArray,
    ) -> BurningDays:
        """From the yard's books: what a survey missed was not burnt, so shares are scaled to what was."""
        taken = np.array([books.taken_kg(start - 1, end - 1) for start, end in days])
        whole = taken.sum(axis=1)
        scale = np.where(whole > 0.0, burnt_kg / np.where(whole > 0.0, whole, 1.0), 0.0)
        return cls(heat_gj, burnt_kg, coverage, taken * scale[:, None], books.lots)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Days that can be judged."""
        fired = self.taken_kg.sum(axis=1) > 0.0
        return np.asarray((self.coverage >= KNOWN) & (self.burnt_kg > 0.0) & fired, dtype=np.bool_)

    def efficiency_pct(self, *, paper: bool) -> FloatArray:
        """Of each day, by the heat of the coal as best known or as on paper; NaN where not known. [%]"""
        q = self.lots.paper_mj_kg if paper else self.lots.q_mj_kg
        return np.where(self.known, efficiency_pct(self.heat_gj, self.taken_kg @ q, 1.0), np.nan)

    def usual(self, *, paper: bool) -> float:
        """Middle efficiency of the days, 0 to 1; `USUAL_EFFICIENCY` where too few are known."""
        of_days = self.efficiency_pct(paper=paper)
        if (~np.isnan(of_days)).sum() < _LEAST_DAYS:
            return USUAL_EFFICIENCY
        return float(np.nanmedian(of_days)) / 100.0

    @property
    def residual_pct(self) -> float:
        """By how much the last day's heat is off what its coal on paper usually gives; NaN unknown. [%]"""
        of_days = self.efficiency_pct(paper=True)
        if (~np.isnan(of_days[:-1])).sum() < _LEAST_DAYS:
            return float("nan")
        return float(100.0 * (of_days[-1] / np.nanmedian(of_days[:-1]) - 1.0))

    @property
    def fired_mj_kg(self) -> float:
        """Net calorific value of what was burnt on the last day; NaN where nothing was. [MJ/kg]"""
        burnt = float(self.taken_kg[-1].sum())
        return float(self.taken_kg[-1] @ self.lots.q_mj_kg) / burnt if burnt > 0.0 else float("nan")

    def suppliers(self) -> list[SupplierDays]:
        """Every supplier of whom something was burnt; what lay there before is nobody's."""
        names = sorted(set(self.lots.supplier))
        mine = np.array([[s == name for name in names] for s in self.lots.supplier], dtype=np.float64)
        burnt = self.taken_kg @ mine
        heat = (self.taken_kg * self.lots.paper_mj_kg) @ mine
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


def recent_loads(days: BurningDays) -> Loads | None:
    """Loads as on the last days that are known; None where too few are."""
    mean_kw = days.heat_gj[:-1][days.known[:-1]][-_RECENT_DAYS:] / 86_400.0 * 1e6
    if len(mean_kw) < _LEAST_DAYS:
        return None
    mean = float(mean_kw.mean())
    return steady_loads(mean, max(float(mean_kw.std(ddof=1)), _LEAST_SCATTER * mean), "recent")


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
