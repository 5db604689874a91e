"""Where a contract's kilograms are: the funnel from plan to settlement, with its identities as checks.

Every quantity is added up from its own papers: releases, cancellations, settlements and rejections from the
offices, what was loaded and received from weigh tickets, what is in transit and lost from trips. What must
be left over is a balance that cannot be negative, so that each identity of the funnel can fail, and says by
how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KINDS", "RESIDUALS", "Funnel", "Movements", "funnel", "movements", "rate_pct", "reported_pct"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

KINDS: Final = (
    "released", "cancelled", "settled", "rejected", "loaded", "received", "unmatched", "opened", "ended",
    "lost",
)  # fmt: skip
"""What moves kilograms: the first four by an office, the next three by a ticket, the others by a trip.

`unmatched` is a receipt for which no loading is known; it is `received` too. `opened` is the load of a trip
as it begins and `ended` the same load as it ends, by arriving or by being given up; `lost` is what did not
arrive of it, negative where scales or rain say so.
"""
RESIDUALS: Final = ("release_residual_kg", "load_residual_kg", "transit_residual_kg", "receipt_residual_kg")
"""The four identities, in the order of the funnel."""


@dataclass(frozen=True, slots=True)
class Movements:
    """Movements of one contract, in any order.

    Attributes
    ----------
    t_ms : ndarray of int64, shape (n,)
        When each counts. [ms UTC]
    kind : ndarray of int64, shape (n,)
        Place in `KINDS`.
    kg : ndarray of int64, shape (n,)
    """

    t_ms: IntArray
    kind: IntArray
    kg: IntArray

    def of(self, kind: str) -> tuple[IntArray, IntArray]:
        """Times and kilograms of one of `KINDS`, in order of time."""
        mine = np.flatnonzero(self.kind == KINDS.index(kind))
        mine = mine[np.argsort(self.t_ms[mine], kind="stable")]
        return self.t_ms[mine], self.kg[mine]


def movements(rows: Iterable[tuple[int, str, int]]) -> Movements:
    """Movements from (ms UTC, one of `KINDS`, kg)."""
    given = list(rows)
    return Movements(
        np.array([t for t, _, _ in given], dtype=np.int64),
        np.array([KINDS.index(kind) for _, kind, _ in given], dtype=np.int64),
        np.array([kg for _, _, kg in given], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class Funnel:
    """A contract's month at some instants, one element each; whole kilograms.

    planned = released + unreleased + release_residual; released = loaded + unloaded + cancelled +
    load_residual; loaded + unmatched = received + lost + in_transit + transit_residual; received = settled +
    unsettled + rejected + receipt_residual. A residual is zero unless more was released than planned, loaded
    than released, settled than received, or tickets and trips tell two stories.
    """

    planned_kg: IntArray
    unreleased_kg: IntArray
    released_kg: IntArray
    cancelled_kg: IntArray
    unloaded_kg: IntArray
    loaded_kg: IntArray
    unmatched_kg: IntArray
    in_transit_kg: IntArray
    lost_kg: IntArray
    received_kg: IntArray
    settled_kg: IntArray
    rejected_kg: IntArray
    unsettled_kg: IntArray
    release_residual_kg: IntArray
    load_residual_kg: IntArray
    transit_residual_kg: IntArray
    receipt_residual_kg: IntArray

    @property
    def worst_kg(self) -> int:
        """The residual that is furthest from zero, at any of the instants. [kg]"""
        residuals = np.array([getattr(self, name) for name in RESIDUALS])
        return int(np.abs(residuals).max(initial=0))

    def at(self, index: int) -> dict[str, int]:
        """Its fields at one of the instants."""
        return {f.name: int(getattr(self, f.name)[index]) for f in fields(self)}


def funnel(planned_kg: int, moved: Movements, at_ms: ArrayLike) -> Funnel:
    """The funnel of one contract at each of `at_ms`, movements of that very instant included.

    Parameters
    ----------
    planned_kg : int
        What the contract's month provides for. [kg]
    moved : Movements
        All of the contract's, in any order.
    at_ms : array_like of int, shape (k,)
        Instants. [ms UTC]

    References
    ----------
    .. [1] The identities of a haulage book, kept by account as in double entry.

    Examples
    --------
    >>> moved = movements([(1, "released", 900), (2, "loaded", 300), (2, "opened", 300), (5, "ended", 300),
    ...                    (5, "received", 298), (5, "lost", 2)])
    >>> now = funnel(1000, moved, [3, 6])
    >>> now.in_transit_kg, now.received_kg, now.unsettled_kg, now.worst_kg
    (array([300,   0]), array([  0, 298]), array([  0, 298]), 0)
    """
    instants = np.atleast_1d(np.asarray(at_ms, dtype=np.int64))
    sums = {kind: _up_to(*moved.of(kind), instants) for kind in KINDS}
    planned = np.full(len(instants), planned_kg, dtype=np.int64)
    unreleased, release = _left(planned - sums["released"])
    unloaded, load = _left(sums["released"] - sums["loaded"] - sums["cancelled"])
    unsettled, receipt = _left(sums["received"] - sums["settled"] - sums["rejected"])
    in_transit = sums["opened"] - sums["ended"]
    return Funnel(
        planned_kg=planned,
        unreleased_kg=unreleased,
        released_kg=sums["released"],
        cancelled_kg=sums["cancelled"],
        unloaded_kg=unloaded,
        loaded_kg=sums["loaded"],
        unmatched_kg=sums["unmatched"],
        in_transit_kg=in_transit,
        lost_kg=sums["lost"],
        received_kg=sums["received"],
        settled_kg=sums["settled"],
        rejected_kg=sums["rejected"],
        unsettled_kg=unsettled,
        release_residual_kg=release,
        load_residual_kg=load,
        transit_residual_kg=sums["loaded"] + sums["unmatched"] - sums["received"] - sums["lost"] - in_transit,
        receipt_residual_kg=receipt,
    )


def _up_to(t_ms: IntArray, kg: IntArray, at_ms: IntArray) -> IntArray:
    """Sum of all `kg` whose time is at or before each of `at_ms`."""
    total = np.concatenate(([0], np.cumsum(kg)))
    return total[np.searchsorted(t_ms, at_ms, side="right")]


def _left(difference: IntArray) -> tuple[IntArray, IntArray]:
    """What is left over, and what is missing where it would be negative."""
    return np.maximum(difference, 0), np.minimum(difference, 0)


def rate_pct(received_kg: ArrayLike, planned_kg: ArrayLike) -> FloatArray:
    """Fulfilment rate, received over planned; NaN where nothing is planned. [%]

    Examples
    --------
    >>> rate_pct([800, 1], [1000, 0])
    array([80., nan])
    """
    received, planned = np.asarray(received_kg, dtype=np.float64), np.asarray(planned_kg, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(planned > 0.0, 100.0 * received / planned, np.nan)


def reported_pct(seller_kg: ArrayLike, buyer_kg: ArrayLike, planned_kg: ArrayLike) -> FloatArray:
    """Fulfilment rate as it is reported upward: by the lower of both sides' masses. [%]

    Parameters
    ----------
    seller_kg, buyer_kg : array_like of float
        What each side reports; NaN where it reports nothing, which counts 0. [kg]
    planned_kg : array_like

    References
    ----------
    .. [1] The rule by which performance of coal contracts of medium and long term is filed: both sides
       report, the lower one counts, what is not reported counts nothing.

    Examples
    --------
    >>> reported_pct([900, 900, float("nan")], [880, 910, 950], 1000)
    array([88., 90.,  0.])
    """
    seller = np.nan_to_num(np.asarray(seller_kg, dtype=np.float64), nan=0.0)
    buyer = np.nan_to_num(np.asarray(buyer_kg, dtype=np.float64), nan=0.0)
    return rate_pct(np.minimum(seller, buyer), planned_kg)
