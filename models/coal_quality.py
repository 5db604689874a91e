"""Whether a supplier's coal has the heat that its certificates say, by laboratories at both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LEAST_LOTS", "TOLERANCE_PCT", "QualityGap", "dry_mj_kg", "quality_gap"]

FloatArray = NDArray[np.float64]

_WATER_MJ_KG: Final = 2.443  # enthalpy of evaporation at 25 °C
LEAST_LOTS: Final = 5
"""Lots from which a supplier is judged."""
TOLERANCE_PCT: Final = 1.5
"""What two good laboratories may differ by for long, ISO 1928 reproducibility of 0.3 MJ/kg on 20. [%]"""


def dry_mj_kg(q_net_ar_mj_kg: ArrayLike, moisture_pct: ArrayLike) -> FloatArray:
    """Net calorific value of the dry coal from that as received; NaN for a moisture outside 0 to under 100 %.

    Water on the way changes what is received, not what is burnt: lots are compared dry.

    References
    ----------
    .. [1] ISO 1928, conversion of net calorific values between bases, 24.43 kJ/kg for each percent.

    Examples
    --------
    >>> dry_mj_kg([20.0, 20.0], [10.0, 130.0]).round(3)
    array([22.494,    nan])
    """
    heat, moisture = np.asarray(q_net_ar_mj_kg, dtype=np.float64), np.asarray(moisture_pct, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        dry = (heat + _WATER_MJ_KG * moisture / 100.0) * 100.0 / (100.0 - moisture)
        return np.where((moisture >= 0.0) & (moisture < 100.0), dry, np.nan)


@dataclass(frozen=True, slots=True)
class QualityGap:
    """What coal lacks against its certificates.

    Attributes
    ----------
    short_pct, u_pct : float
        Mean over lots, and its uncertainty (k = 2); NaN with fewer than two. [%]
    lots : int
        Lots that it rests on.
    needed : int
        Lots that a verdict on a gap of this size needs; 0 where it is within the tolerance.
    """

    short_pct: float
    u_pct: float
    lots: int
    needed: int

    @property
    def short(self) -> bool:
        """Whether the gap is beyond what laboratories may differ by, surely."""
        return self.lots >= LEAST_LOTS and self.short_pct - self.u_pct > TOLERANCE_PCT


def quality_gap(certified_mj_kg: ArrayLike, found_mj_kg: ArrayLike) -> QualityGap:
    """Compare certificates with what the receiving laboratory found, lot by lot.

    Parameters
    ----------
    certified_mj_kg, found_mj_kg : array_like, shape (n,)
        Of the dry coal; a lot of which one is NaN is left out. [MJ/kg]

    Examples
    --------
    >>> quality_gap([22.0, 22.1, 21.9], [20.7, 20.7, 20.6]).short_pct.__round__(1)
    6.1
    """
    certified, found = np.asarray(certified_mj_kg, float), np.asarray(found_mj_kg, float)
    both = ~np.isnan(certified) & ~np.isnan(found) & (certified > 0.0)
    gaps = 100.0 * (1.0 - found[both] / certified[both])
    if len(gaps) < 2:
        return QualityGap(float("nan"), float("nan"), len(gaps), 0)
    scatter = float(gaps.std(ddof=1))
    short = float(gaps.mean())
    beyond = short - TOLERANCE_PCT
    needed = max(LEAST_LOTS, int(np.ceil((2.0 * scatter / beyond) ** 2))) if beyond > 0.0 else 0
    return QualityGap(short, 2.0 * scatter / len(gaps) ** 0.5, len(gaps), needed)
