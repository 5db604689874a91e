"""The heat balance of a network over a window, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR, calculator_mpe_pct, temperature_pair_mpe_pct
from models.network_content import Contents
from models.water import density_kg_m3, enthalpy_kj_kg

__all__ = [
    "DEFAULT_LEAK_PCT", "DEFAULT_MAKEUP_C", "Balance", "Leak", "Source", "heat_balance", "meter_u_gj",
]  # fmt: skip

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DEFAULT_MAKEUP_C: Final = 10.0
"""Make-up water where the registry has no temperature: mains in winter. The residual does not hang on it."""
DEFAULT_LEAK_PCT: Final = 1.0
"""Leak of a network of which nobody knows better, at most, of what circulates: the norm for make-up. [%]"""

_GJ: Final = 1e-6  # of a kJ
_WORST_FLOW_PCT: Final = 5.0  # EN 1434-1: no class may err by more
_WORST_DT_MIN_K: Final = 10.0
_BETWEEN: Final = 0.10  # load over a gap against the straight line of a counter, over itself
_SURE_COVERAGE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Source:
    """The plants of a network over a window; arrays of shape (plants,).

    Attributes
    ----------
    heat_gj, u_gj : ndarray
        By their meters, and its standard uncertainty. [GJ]
    flow_kg : ndarray
    supply_c, return_c : ndarray
        Means weighted by flow. [°C]
    on_supply : ndarray of bool
        Whether the flow meter sits on the supply pipe.
    """

    heat_gj: FloatArray
    u_gj: FloatArray
    flow_kg: FloatArray
    supply_c: FloatArray
    return_c: FloatArray
    on_supply: BoolArray


@dataclass(frozen=True, slots=True)
class Leak:
    """Water that left a network over a window.

    Attributes
    ----------
    volume_m3, u_m3 : float or None
        As make-up water, and its standard uncertainty; None where no water balance says it. [m³]
    most_pct : float
        At most, where none says it, of what circulates. [%]
    """

    volume_m3: float | None
    u_m3: float | None
    most_pct: float


@dataclass(frozen=True, slots=True)
class Balance:
    """Terms of a heat balance. [GJ]

    ``residual = supplied - delivered - loss - storage - leak``; `residual_u_gj` is expanded (k = 2).
    """

    supplied_gj: float
    delivered_gj: float
    loss_gj: float
    storage_gj: float
    leak_gj: float
    residual_gj: float
    residual_u_gj: float


def meter_u_gj(
    heat_gj: FloatArray, expanded_gj: FloatArray, difference_k: FloatArray, coverage: FloatArray
) -> FloatArray:
    r"""Standard uncertainty of each meter's heat over a window, from that of its steps.

    The error of a meter is its own: it is the same in every step and does not average down. Where a step's
    uncertainty is unknown, the meter is taken for the worst that EN 1434 allows: 5 % of flow, and
    :math:`\Delta\Theta_{min}` 10 K. What a counter is interpolated over may be off by 10 %.

    Parameters
    ----------
    heat_gj, expanded_gj, difference_k, coverage : ndarray, shape (steps, meters)
        Heat, its expanded uncertainty (k = 2), supply minus return, and the share of the step that readings
        cover. [GJ], [GJ], [K], [1]

    Returns
    -------
    ndarray, shape (meters,)
        [GJ]
    """
    difference = np.maximum(np.nan_to_num(np.abs(difference_k), nan=_WORST_DT_MIN_K), 3.0)
    squares = (
        _WORST_FLOW_PCT**2
        + temperature_pair_mpe_pct(difference, _WORST_DT_MIN_K) ** 2
        + calculator_mpe_pct(difference, _WORST_DT_MIN_K) ** 2
    )
    size = np.abs(heat_gj)
    worst = np.sqrt(squares / 3.0) / 100.0 * size
    own = np.where(np.isnan(expanded_gj), worst, expanded_gj / COVERAGE_FACTOR)
    covered = np.nan_to_num(coverage)
    between = np.where(covered < _SURE_COVERAGE, _BETWEEN * size * (1.0 - covered), 0.0)
    return np.asarray(np.hypot(np.nansum(own, axis=0), np.nansum(between, axis=0)))


def heat_balance(
    source: Source,
    delivered_gj: FloatArray,
    delivered_u_gj: FloatArray,
    contents: Contents,
    leak: Leak,
    makeup_c: float,
) -> Balance:
    r"""Close the balance of a network.

    With :math:`\Delta m` the water that the network took up (leak and swelling of its content), heat is
    counted over the make-up water's enthalpy :math:`h_0`:

    - supplied = what the plants' meters say + :math:`\Delta m\,(h_m - h_0)`, for a meter on the supply pipe
      counts each kilogram as if it came back with the return's enthalpy :math:`h_m` (on the return pipe:
      left with the supply's);
    - storage = :math:`\sum V \Delta(\rho h) - \Delta M h_0`; leak = :math:`m\,(\bar h - h_0)` with
      :math:`\bar h` midway between supply and return, for nobody knows which of them leaks.

    :math:`h_0` cancels from the residual. Meters err independently of each other; each one's own error does
    not average down. Where the leak is unknown it is 0 ± the norm.

    Parameters
    ----------
    source : Source
    delivered_gj, delivered_u_gj : ndarray, shape (devices,)
        Heat of each substation or meter, and its standard uncertainty. [GJ]
    contents : Contents
    leak : Leak
    makeup_c : float
        [°C]

    References
    ----------
    .. [1] EN 1434-1, heat meters; JCGM 100:2008 (GUM), 5.1.2 (combination) and 6.2 (k = 2).
    """
    hot, cold = enthalpy_kj_kg(source.supply_c), enthalpy_kj_kg(source.return_c)
    weight = source.flow_kg + 1e-9
    h_supply, h_return = (float((weight * h).sum() / weight.sum()) for h in (hot, cold))
    h_meter = float((weight * np.where(source.on_supply, cold, hot)).sum() / weight.sum())
    h_makeup = float(enthalpy_kj_kg(makeup_c))
    h_middle, h_spread = (h_supply + h_return) / 2.0, abs(h_supply - h_return) / np.sqrt(12.0)

    known = leak.volume_m3 is not None and leak.u_m3 is not None
    density = float(density_kg_m3(makeup_c))
    leaked_kg = density * float(leak.volume_m3 or 0.0) if known else 0.0
    u_kg = (
        density * float(leak.u_m3 or 0.0)
        if known
        else leak.most_pct / 100.0 / np.sqrt(3.0) * float(source.flow_kg.sum())
    )
    taken_kg = leaked_kg + contents.stored_kg
    supplied = float(source.heat_gj.sum()) + taken_kg * (h_meter - h_makeup) * _GJ
    delivered = float(delivered_gj.sum())
    storage = contents.stored_gj - contents.stored_kg * h_makeup * _GJ
    leak_gj = leaked_kg * (h_middle - h_makeup) * _GJ
    residual = supplied - delivered - contents.loss_gj - storage - leak_gj
    leak_u = np.hypot(u_kg * (h_middle - h_meter), np.hypot(leaked_kg, u_kg) * h_spread) * _GJ
    squares = (source.u_gj**2).sum() + (delivered_u_gj**2).sum() + contents.u_gj**2 + leak_u**2
    return Balance(
        supplied, delivered, contents.loss_gj, storage, leak_gj, residual,
        COVERAGE_FACTOR * float(np.sqrt(squares)),
    )  # fmt: skip
