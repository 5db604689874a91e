"""What happens in a coal yard between two readings: lots in, burn out, surveys in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.coal_yard import reclaimed_kg

__all__ = ["OPENING", "STOCK_U", "Lots", "YardAccount", "closure_u_kg", "yard_account"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OPENING: Final = ""
"""Supplier of what lay there before anything is known of it, and of what a survey found more."""

STOCK_U: Final = 0.01
"""Relative standard uncertainty of what a survey or a gauge finds: volume and bulk density. [assumed]"""
_BURNT_U: Final = 0.005  # of a belt scale, relative [assumed]
_TICKET_KG: Final = 20.0 * 2.0**0.5  # of a net: two weighings by 20 kg each


@dataclass(frozen=True, slots=True)
class Lots:
    """What was tipped, in order of time; arrays of shape (n,).

    Attributes
    ----------
    t_ms : ndarray of int64
        [ms UTC]
    kg : ndarray
    q_mj_kg, paper_mj_kg : ndarray
        Net calorific value as received: the best that is known, and what is paid for. [MJ/kg]
    supplier : tuple of str
    """

    t_ms: IntArray
    kg: FloatArray
    q_mj_kg: FloatArray
    paper_mj_kg: FloatArray
    supplier: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float, float, float, str]]) -> Lots:
        """Lots from (ms UTC, kg, best MJ/kg, MJ/kg on paper, supplier), in any order."""
        columns: list[tuple[Any, ...]] = list(zip(*sorted(rows), strict=True)) or [()] * 5
        t_ms, kg, best, paper, supplier = columns
        return cls(
            np.array(t_ms, dtype=np.int64), np.array(kg, dtype=np.float64), np.array(best, dtype=np.float64),
            np.array(paper, dtype=np.float64), tuple(supplier),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class YardAccount:
    """A yard since its first reading.

    Attributes
    ----------
    since_ms : int
        When that was. [ms UTC]
    lots : Lots
        The opening stock first; receipts and what surveys found more, in order of time.
    gone_t_ms, gone_kg : ndarray
        When coal went, and all that had gone by then: burnt, or missed by a survey.
    residuals_kg : tuple of (int, float)
        At each survey what the books had more than it. [ms UTC], [kg]
    """

    since_ms: int
    lots: Lots
    gone_t_ms: IntArray
    gone_kg: FloatArray
    residuals_kg: tuple[tuple[int, float], ...]

    def gone_by(self, at_ms: int) -> float:
        """All that had gone by an instant. [kg]"""
        n = int(np.searchsorted(self.gone_t_ms, at_ms, side="right"))
        return float(self.gone_kg[n - 1]) if n else 0.0

    def came_by(self, at_ms: int) -> float:
        """All that had come by an instant, the opening stock included. [kg]"""
        return float(self.lots.kg[: int(np.searchsorted(self.lots.t_ms, at_ms, side="right"))].sum())

    def stock_kg(self, at_ms: int) -> float:
        """What the books say lies there. [kg]"""
        return self.came_by(at_ms) - self.gone_by(at_ms)

    def lying_kg(self, at_ms: int) -> FloatArray:
        """What is left of each lot that had come by an instant; later ones are 0. [kg]"""
        came = np.where(self.lots.t_ms <= at_ms, self.lots.kg, 0.0)
        return reclaimed_kg(came, self.gone_by(at_ms), float("inf"))

    def taken_kg(self, from_ms: int, to_ms: int) -> FloatArray:
        """What was taken of each lot in (from_ms, to_ms]. [kg]"""
        came = np.where(self.lots.t_ms <= to_ms, self.lots.kg, 0.0)
        return reclaimed_kg(came, self.gone_by(from_ms), self.gone_by(to_ms))


def yard_account(
    readings: Sequence[tuple[int, float]],
    lots: Lots,
    burnt: Sequence[tuple[int, float]],
    opening_mj_kg: float,
) -> YardAccount | None:
    """Keep a yard's books from its first reading on; None where there is no reading.

    Parameters
    ----------
    readings : sequence of (int, float)
        Surveys: when and what was there. At each but the first the books are set right. [ms UTC], [kg]
    lots : Lots
        Receipts.
    burnt : sequence of (int, float)
        Ends of spans and what was burnt in each. [ms UTC], [kg]
    opening_mj_kg : float
        Of the coal that lay there at first, and of what surveys find more. [MJ/kg]

    Examples
    --------
    >>> came = Lots.of([(10, 50.0, 21.0, 21.0, "A")])
    >>> books = yard_account([(0, 100.0), (30, 85.0)], came, [(20, 60.0)], 20.0)
    >>> books.residuals_kg, books.stock_kg(25), books.stock_kg(30), books.lying_kg(30)
    (((30, 5.0),), 90.0, 85.0, array([35., 50.]))
    """
    if not readings:
        return None
    (since_ms, opening), *later = sorted(readings)
    tipped = [(since_ms, opening, opening_mj_kg, opening_mj_kg, OPENING)]
    tipped += [
        row
        for row in zip(lots.t_ms.tolist(), lots.kg.tolist(), lots.q_mj_kg.tolist(), lots.paper_mj_kg.tolist(),
                       lots.supplier, strict=True)
        if row[0] > since_ms
    ]  # fmt: skip
    taken = [(t, kg) for t, kg in burnt if t > since_ms and kg > 0.0]
    residuals = []
    came_t, came_kg = _sums([(row[0], row[1]) for row in tipped])
    gone_t, gone_kg = _sums(taken)
    righted = 0.0
    for t, found in later:
        book = _by(came_t, came_kg, t) - _by(gone_t, gone_kg, t) - righted
        residuals.append((t, book - found))
        righted += book - found
        if book > found:
            taken.append((t, book - found))
        elif book < found:
            tipped.append((t, found - book, opening_mj_kg, opening_mj_kg, OPENING))
    t_ms, gone = _sums(taken)
    first, rest = tipped[0], tipped[1:]
    whole = Lots.of(rest)
    return YardAccount(
        since_ms,
        Lots(
            np.append(np.int64(first[0]), whole.t_ms), np.append(first[1], whole.kg),
            np.append(first[2], whole.q_mj_kg), np.append(first[3], whole.paper_mj_kg),
            (first[4], *whole.supplier),
        ),
        t_ms, gone, tuple(residuals),
    )  # fmt: skip


def closure_u_kg(first_kg: float, last_kg: float, tickets: int, burnt_kg: float) -> float:
    """Expanded uncertainty (k = 2) of what books miss between two readings of a stock. [kg]

    Parameters
    ----------
    first_kg, last_kg : float
        What the readings found.
    tickets : int
        Receipts between them, each by itself.
    burnt_kg : float
        Between them; a belt scale's error is the same all along.

    Examples
    --------
    >>> round(closure_u_kg(3e6, 4e6, 0, 0.0)), round(closure_u_kg(0.0, 0.0, 100, 0.0))
    (100000, 566)
    """
    terms = (STOCK_U * first_kg, STOCK_U * last_kg, _TICKET_KG * tickets**0.5, _BURNT_U * burnt_kg)
    return 2.0 * math.hypot(*terms)


def _sums(rows: Sequence[tuple[int, float]]) -> tuple[IntArray, FloatArray]:
    """Times in order, and all that had been moved by each."""
    ordered = sorted(rows)
    return np.array([t for t, _ in ordered], dtype=np.int64), np.cumsum(
        [kg for _, kg in ordered], dtype=float
    )


def _by(t_ms: IntArray, total: FloatArray, at_ms: int) -> float:
    n = int(np.searchsorted(t_ms, at_ms, side="right"))
    return float(total[n - 1]) if n else 0.0
