"""When a network loses more water than it usually does: since when, how much, and in what way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.water_usual import Usual, WaterWindow, columns, summed_u_m3

__all__ = [
    "DRAW_OFF", "ENOUGH", "LEAK", "Loss", "Manner", "by_norm", "find_loss", "loss_since", "manner_of",
    "side_of",
]  # fmt: skip

FloatArray = NDArray[np.float64]

ENOUGH: Final = 5.0
"""Excess over its standard uncertainty that does to say that water is lost."""
LEAK, DRAW_OFF = "primary_leak", "water_theft"
_WHOLE_H: Final = 6.0  # hours over which the usual loss wanders without turning round
_LIKELY: Final = 3.84  # chi-square of one degree at 95 %
_MOST_PER_WINDOW: Final = 2.0  # of a log likelihood ratio, so that no single window decides
_SURE: Final = 0.99
_LEAST_FLOOR_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Loss:
    """An excess of water lost over what is usual.

    Attributes
    ----------
    score : float
        Excess over its standard uncertainty.
    size_m3_h, size_u_m3_h : float
        Mean rate since the onset, and its uncertainty (k = 2). [m³/h]
    volume_m3 : float
        Lost since then. [m³]
    onset_ms, onset_from_ms, onset_to_ms : int
        Start of the window in which it most likely began, and of the first and last in which it may
        have (95 %). [ms UTC]
    """

    score: float
    size_m3_h: float
    size_u_m3_h: float
    volume_m3: float
    onset_ms: int
    onset_from_ms: int
    onset_to_ms: int


@dataclass(frozen=True, slots=True)
class Manner:
    """In what way water is lost.

    Attributes
    ----------
    code : str
        `LEAK` or `DRAW_OFF`.
    confidence : float
        0.5 to 1.
    floor_share : float
        How much of the excess is there all the time, by the floors of the windows; 1 of a leak.
    busiest_h : tuple of int
        Local hours of the day in which most was lost, the most first.
    """

    code: str
    confidence: float
    floor_share: float
    busiest_h: tuple[int, ...]


def by_norm(norm_m3_h: float) -> Usual:
    """What is usual while nothing is learnt: anything up to the norm for make-up, as likely."""
    unknown = float("nan")
    return Usual(
        norm_m3_h / 2.0, norm_m3_h / np.sqrt(12.0), 0.0, norm_m3_h / 2.0, norm_m3_h / np.sqrt(12.0), unknown,
        unknown, unknown, 0,
    )  # fmt: skip


def _excess(told: dict[str, FloatArray], usual: Usual) -> tuple[FloatArray, FloatArray, FloatArray]:
    """From each window to the last: excess lost, its standard uncertainty [m³], and hours."""
    over = told["leak_m3"] - usual.rate_m3_h * told["hours"]
    total, hours = (np.cumsum(x[::-1])[::-1] for x in (over, told["hours"]))
    wandering = usual.scatter_m3_h**2 * np.minimum(hours, _WHOLE_H) * hours
    u = np.sqrt(summed_u_m3(told) ** 2 + (usual.rate_u_m3_h * hours) ** 2 + wandering)
    return total, u, hours


def find_loss(windows: Sequence[WaterWindow], usual: Usual) -> Loss:
    r"""Look for a loss that goes on until the last of `windows`.

    Generalised likelihood ratio [1]_ over all onsets k: the score is the largest of :math:`S_k / u(S_k)` with
    :math:`S_k = \sum_{i \ge k} (leak_i - usual\,\Delta t_i)`. Its uncertainty is that of the meters over the
    whole span (what is their own does not average down, storage and tank cancel), of the usual loss, and of
    how it wanders. Given the size, the onset is where :math:`\sum_{i \ge k} (excess_i - size/2\,\Delta t_i)`
    is largest, with Wilks' interval.

    Parameters
    ----------
    windows : sequence of WaterWindow
        In order of time, at least one.
    usual : Usual

    References
    ----------
    .. [1] M. Basseville, I. V. Nikiforov, Detection of Abrupt Changes, 1993, chapters 2.4 and 4.2.
    """
    told = columns(windows)
    total, u, hours = _excess(told, usual)
    best = int(np.argmax(total / u))
    score, size = float(total[best] / u[best]), float(total[best] / hours[best])
    likely = total - size / 2.0 * hours
    onset = int(np.argmax(likely))
    wanders = max(float(np.median(told["leak_u_m3"])) / COVERAGE_FACTOR, usual.scatter_m3_h, 1e-9)
    # A shift of the onset by one window costs size/2 of its volume; in units of log likelihood.
    ratio = (likely[onset] - likely) * max(size, 1e-9) * float(told["hours"][onset]) / wanders**2
    within = np.flatnonzero(2.0 * ratio <= _LIKELY)
    low, high = int(within[0]), int(within[-1])
    starts = told["start_ms"].astype(np.int64)
    return Loss(
        score,
        float(total[onset] / hours[onset]),
        COVERAGE_FACTOR * float(u[onset] / hours[onset]),
        float(total[onset]),
        int(starts[onset]),
        int(starts[low]),
        int(starts[high]),
    )


def loss_since(windows: Sequence[WaterWindow], usual: Usual) -> tuple[float, float]:
    """Mean excess over the whole of `windows` [m³/h], and over its standard uncertainty."""
    total, u, hours = _excess(columns(windows), usual)
    return float(total[0] / hours[0]), float(total[0] / u[0])


def manner_of(
    windows: Sequence[WaterWindow], usual: Usual, size_m3_h: float, local_h: Sequence[int]
) -> Manner:
    r"""Tell a leak, which is there all the time, from draw-off, which comes in bursts.

    The floor of a window, its least loss over 5 minutes, rises by the whole of a leak and by nothing of
    bursts: log likelihood ratio of the two for normal scatter, windows in which nothing was lost speaking
    against a leak. The first window may have begun before the loss did: then its floor is the usual one
    whatever began, and speaks against nothing. Where nothing speaks for either it is a leak, with
    confidence 0.5.

    Parameters
    ----------
    windows : sequence of WaterWindow
        Since the onset.
    usual : Usual
    size_m3_h : float
        Mean excess. [m³/h]
    local_h : sequence of int
        Local hour of the day of each window's start.
    """
    told = columns(windows)
    over = told["leak_m3"] / told["hours"] - usual.rate_m3_h
    floor = told["floor_m3_h"] - usual.floor_m3_h
    seen = np.isfinite(floor)
    expected = np.maximum(over, size_m3_h / 2.0)[seen]
    scatter = max(float(np.nan_to_num(usual.floor_u_m3_h)), _LEAST_FLOOR_SHARE * size_m3_h, 1e-9)
    each = expected * (2.0 * floor[seen] - expected) / (2.0 * scatter**2)
    each = np.clip(each, -_MOST_PER_WINDOW, _MOST_PER_WINDOW)
    ratio = float(np.where(np.flatnonzero(seen) == 0, np.maximum(each, 0.0), each).sum())
    lost = float((over * told["hours"])[seen].sum())
    share = float((floor * told["hours"])[seen].sum()) / lost if lost > 0.0 else np.nan
    hour = np.asarray(local_h, dtype=np.int64)
    by_hour = np.bincount(hour, np.maximum(over * told["hours"], 0.0), minlength=24)
    busiest = np.argsort(-by_hour, kind="stable")[:3]
    chance = min(_SURE, 1.0 / (1.0 + float(np.exp(-abs(ratio)))))
    busiest_h = tuple(int(h) for h in busiest if by_hour[h] > 0.0)
    return Manner(LEAK if ratio >= 0.0 else DRAW_OFF, chance, share, busiest_h)


def side_of(windows: Sequence[WaterWindow], lost_m3: float) -> str:
    """Whether the water was lost on the side that the plants' meters sit on.

    By the channel of supply less return flow, whose error is the same in all windows.

    Parameters
    ----------
    windows : sequence of WaterWindow
        Since the onset.
    lost_m3 : float
        By the water balance. [m³]

    Returns
    -------
    str
        `metered`, `other`, or empty where the meters cannot tell.
    """
    told = columns(windows)
    seen = np.isfinite(told["unbiased_m3"]) & np.isfinite(told["unbiased_u_m3"])
    if not seen.all() or not len(seen):
        return ""
    found, u = float(told["unbiased_m3"].sum()), float(told["unbiased_u_m3"].sum())
    on_it, off_it = abs(found - lost_m3) <= u, abs(found) <= u
    if on_it == off_it:
        return ""
    return "metered" if on_it else "other"
