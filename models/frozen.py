"""How long a channel usually shows one value, learned, and whether it has shown one for too long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_RUNS", "QUANTILE", "VERSION", "FrozenState", "Verdict", "fold", "longest_usual_s", "verdict"]

VERSION: Final = 1
QUANTILE: Final = 0.999
"""A run longer than this share of all runs is not usual."""
MIN_RUNS: Final = 1_000
"""Fewer runs than this say nothing of one in a thousand."""

_BINS_PER_OCTAVE: Final = 4
_BINS: Final = 25 * _BINS_PER_OCTAVE  # to 2^25 s, over a year
_MOST_RUNS: Final = 1 << 17  # then older runs weigh half, so that a new season is learned
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FrozenState:
    """What is known of a channel's runs of one value.

    Attributes
    ----------
    counts : tuple of int
        Ended runs by length: bin 0 up to 1 s, then four bins an octave.
    value : float
        Of the run that is under way; NaN where there is none.
    since_ms, until_ms : int
        First and newest sample of that run. [ms UTC]
    """

    counts: tuple[int, ...] = (0,) * (_BINS + 1)
    value: float = math.nan
    since_ms: int = 0
    until_ms: int = 0

    @property
    def runs(self) -> int:
        """How many ended runs are remembered."""
        return sum(self.counts)

    def to_json(self) -> dict[str, Any]:
        """State as JSON values, bins without runs left out; `from_json` reads it."""
        open_run = None if math.isnan(self.value) else [self.value, self.since_ms, self.until_ms]
        counts = {str(at): n for at, n in enumerate(self.counts) if n}
        return {"version": VERSION, "counts": counts, "open": open_run}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FrozenState:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            It is of another version.
        """
        if data["version"] != VERSION:
            msg = f"expected runs of version {VERSION}, got {data['version']!r}"
            raise ValueError(msg)
        counts = tuple(int(data["counts"].get(str(at), 0)) for at in range(_BINS + 1))
        if data["open"] is None:
            return cls(counts)
        value, since_ms, until_ms = data["open"]
        return cls(counts, float(value), int(since_ms), int(until_ms))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a channel is frozen, with its evidence.

    Attributes
    ----------
    frozen : bool
    run_s : float
        Length of the run that is under way. [s]
    usual_s : float
        The learned 99.9 % run; NaN while too few are known. [s]
    value : float
        What it shows.
    """

    frozen: bool
    run_s: float
    usual_s: float
    value: float


def fold(state: FrozenState, t_ms: IntArray, value: FloatArray, gap_limit_ms: float) -> FrozenState:
    """Take in the next samples of a channel.

    A run is consecutive equal values, from its first sample to its last; a
    gap ends it, for nobody knows what the channel showed meanwhile. Samples may
    be folded in pieces of any size: the state is the same.

    Parameters
    ----------
    state : FrozenState
    t_ms : ndarray of int64, shape (n,)
        Ascending, and after what was folded before. [ms UTC]
    value : ndarray, shape (n,)
        Readings; NaN are left out.
    gap_limit_ms : float
        Samples further apart belong to different runs. [ms]

    Returns
    -------
    FrozenState

    Examples
    --------
    >>> t = np.arange(6) * 10_000
    >>> state = fold(FrozenState(), t, np.array([90.0, 90.0, 90.5, 91.0, 91.0, 91.0]), 30_000)
    >>> state.runs, state.value, state.until_ms - state.since_ms
    (2, 91.0, 20000)
    """
    there = ~np.isnan(value)
    t_ms, value = t_ms[there], value[there]
    if not len(t_ms):
        return state
    if not math.isnan(state.value):
        t_ms = np.concatenate([[state.until_ms], t_ms])
        value = np.concatenate([[state.value], value])
    first = np.flatnonzero(
        np.concatenate([[True], (value[1:] != value[:-1]) | (np.diff(t_ms) > gap_limit_ms)])
    )
    last = np.append(first[1:], len(t_ms)) - 1
    since = t_ms[first]
    if not math.isnan(state.value):
        since[0] = state.since_ms
    lengths_s = (t_ms[last] - since)[:-1] / 1000.0
    return replace(
        state,
        counts=_added(state.counts, _bin(lengths_s)),
        value=float(value[-1]),
        since_ms=int(since[-1]),
        until_ms=int(t_ms[-1]),
    )


def longest_usual_s(state: FrozenState) -> float:
    """The learned 99.9 % run: that share of the channel's runs was no longer. [s]

    NaN while too few are known. The upper edge of its bin, so at most 19 % too long and never
    too short.
    """
    if state.runs < MIN_RUNS:
        return math.nan
    reached = np.cumsum(state.counts) >= QUANTILE * state.runs
    return float(2.0 ** (int(np.argmax(reached)) / _BINS_PER_OCTAVE))


def verdict(state: FrozenState) -> Verdict:
    """Whether the run that is under way is longer than the channel's 99.9 % run.

    By its definition one run in a thousand of a sound channel is: a caller
    that raises an alarm asks for more than one sign.

    Examples
    --------
    >>> t = np.arange(2_000) * 10_000
    >>> busy = fold(FrozenState(), t, np.tile([50.0, 50.1], 1_000), 30_000)
    >>> verdict(busy).frozen
    False
    >>> stuck = fold(busy, t[-1] + t[1:4], np.full(3, 50.1), 30_000)
    >>> verdict(stuck)
    Verdict(frozen=True, run_s=30.0, usual_s=1.0, value=50.1)
    """
    run_s = 0.0 if math.isnan(state.value) else (state.until_ms - state.since_ms) / 1000.0
    usual_s = longest_usual_s(state)
    return Verdict(run_s > usual_s, run_s, usual_s, state.value)


def _bin(length_s: FloatArray) -> IntArray:
    """The bin that each length falls in; its upper edge is 2 ** (bin / 4)."""
    octaves = np.log2(np.maximum(length_s, 1.0))
    return np.minimum(np.ceil(_BINS_PER_OCTAVE * octaves - 1e-9), _BINS).astype(np.int64)


def _added(counts: tuple[int, ...], bins: IntArray) -> tuple[int, ...]:
    """Counts with runs added one after the other; when there are many, all weigh half from then on."""
    sums = np.array(counts, dtype=np.int64)
    while len(bins):
        room = _MOST_RUNS - int(sums.sum())
        sums += np.bincount(bins[:room], minlength=len(sums))
        bins = bins[room:]
        if sums.sum() >= _MOST_RUNS:
            sums //= 2
    return tuple(sums.tolist())
